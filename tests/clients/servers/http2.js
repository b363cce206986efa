// HTTP/2, and HTTP/1.1 for who asks for it: node http2.js ADDRESS PORT CERTIFICATE KEY. Says "ready" once it listens.
const { createHash, createHmac } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { createSecureServer } = require("node:http2");

const [address, port, cert, key] = process.argv.slice(2);
const PATTERN = createHmac("sha256", "clients").digest();

function answer(request, response) {
  const [, word, size] = request.url.split("/");
  if (word === "bytes") {
    response.end(Buffer.alloc(Number(size), PATTERN));
    return;
  }
  const total = createHash("sha256");
  request.on("data", (piece) => total.update(piece));
  request.on("end", () => response.end(`${request.httpVersion} ${total.digest("hex")}`));
}

const server = createSecureServer({ cert: readFileSync(cert), key: readFileSync(key), allowHTTP1: true }, answer);
server.listen(Number(port), address, () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
