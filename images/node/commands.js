// commands.js NAME: prints the names of the commands that an installed package brings, as JSON.
const name = process.argv[2];
const { bin } = require(`/opt/server/node_modules/${name}/package.json`);
const short = name.split("/").pop();
console.log(JSON.stringify(typeof bin === "string" ? [short] : Object.keys(bin ?? {}).sort()));
