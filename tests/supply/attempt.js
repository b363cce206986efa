// As attempt.py, run by npm as a package's install script.
const fs = require("node:fs");
const net = require("node:net");
const dgram = require("node:dgram");

const answered = (host, port) =>
  new Promise((resolve) => {
    const conn = net.connect({ host, port, family: 4 }, () => conn.write("GET / HTTP/1.0\r\n\r\n"));
    conn.setTimeout(10000, () => resolve("timeout"));
    conn.on("data", () => resolve("answered"));
    conn.on("end", () => resolve("ended"));
    conn.on("error", (error) => resolve(error.syscall === "getaddrinfo" ? "no name" : error.code));
  });

const send = (host, port) =>
  new Promise((resolve) => {
    dgram.createSocket("udp4").send("a datagram", port, host, (error) => resolve(error ? error.code : "sent"));
  });

const all = async (targets, reach) =>
  Object.fromEntries(await Promise.all(targets.map(async ([h, p]) => [`${h}:${p}`, await reach(h, p)])));

(async () => {
  const [tcp, udp] = JSON.parse(fs.readFileSync(`${__dirname}/targets.json`));
  const status = Object.fromEntries(fs.readFileSync("/proc/self/status", "utf8").split("\n").map((l) => l.split(/:?\s+/)));
  const outcome = {
    tcp: await all(tcp, answered),
    udp: await all(udp, send),
    uid: status.Uid,
    capabilities: parseInt(status.CapBnd, 16) | parseInt(status.CapEff, 16),
    no_new_privs: status.NoNewPrivs,
    interfaces: fs.readFileSync("/proc/net/dev", "utf8").trim().split("\n").slice(2).map((l) => l.split(":")[0].trim()),
  };
  fs.writeFileSync("/opt/server/outcome.json", JSON.stringify(outcome));
  process.exit();
})();
