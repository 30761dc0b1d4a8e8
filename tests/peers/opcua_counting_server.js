// A node-opcua server whose nodes ns=1;s=N0 ... all count up once a second: PORT COUNT FOLDER (for its keys). Says
// "up PORT" and ends with its standard input.
const { OPCUAServer, OPCUACertificateManager, Variant, DataType } = require("node-opcua");

async function main() {
  const [port, count, folder] = process.argv.slice(2);
  const manager = new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: true });
  await manager.initialize();
  const server = new OPCUAServer({
    port: Number(port), hostname: "127.0.0.1", serverCertificateManager: manager,
    serverCapabilities: { maxMonitoredItems: 100000, maxMonitoredItemsPerSubscription: 100000 },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.getOwnNamespace();
  const folderNode = own.addFolder(space.rootFolder.objects, { browseName: "Field" });
  const nodes = [];
  for (let n = 0; n < Number(count); n += 1) {
    nodes.push(own.addVariable({
      componentOf: folderNode, browseName: `N${n}`, nodeId: `s=N${n}`, dataType: "Double",
      value: new Variant({ dataType: DataType.Double, value: 0 }),
    }));
  }
  let at = 0;
  setInterval(() => {
    at += 1;
    for (const node of nodes) node.setValueFromSource({ dataType: DataType.Double, value: at });
  }, 1000);
  await server.start();
  process.stdout.write(`up ${port}\n`);
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

main().catch((error) => { process.stderr.write(`${error.stack}\n`); process.exit(1); });
