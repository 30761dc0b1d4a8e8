// A node-opcua server for the tests. Arguments: port (0: any), folder for its keys, "strict" to refuse unknown
// certificates. Says "up PORT" when it listens. "shift" gives its namespace another number.
// Lines it takes: "trust" trusts every certificate it refused and says "trusted N"; any other says its sessions.
const { readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
const {
  OPCUAServer, OPCUACertificateManager, SecurityPolicy, MessageSecurityMode, DataType, VariantArrayType, StatusCodes,
  DataValue, Variant,
} = require("node-opcua");

async function main() {
  const [port, folder, ...words] = process.argv.slice(2);
  const manager = new OPCUACertificateManager({
    rootFolder: folder, automaticallyAcceptUnknownCertificate: !words.includes("strict"),
  });
  await manager.initialize();
  const server = new OPCUAServer({
    port: Number(port), host: "127.0.0.1", hostname: "127.0.0.1", resourcePath: "/UA/field",
    serverCertificateManager: manager,
    securityPolicies: [
      SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep,
      SecurityPolicy.Aes256_Sha256_RsaPss,
    ],
    securityModes: [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
    userManager: { isValidUser: (user, password) => user === "user1" && password === "pw1" },
    allowAnonymous: !words.includes("users"),
    serverCapabilities: {
      maxSessions: 10,
      operationLimits: { maxNodesPerRead: 7, maxMonitoredItemsPerCall: 5, maxNodesPerTranslateBrowsePathsToNodeIds: 3 },
    },
    serverInfo: { applicationUri: "urn:edge-gateway:test:node-opcua", productUri: "urn:test" },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  if (words.includes("shift")) space.registerNamespace("urn:somebody:else");
  const ns = space.registerNamespace("urn:edge-gateway:test:plant");
  const boiler = ns.addObject({ organizedBy: space.rootFolder.objects, browseName: "Boiler" });
  const variable = (name, dataType, value, more = {}) => {
    const node = ns.addVariable({
      componentOf: boiler, browseName: name, nodeId: `s=${name}`, dataType, minimumSamplingInterval: 10, ...more,
    });
    if (value !== undefined) node.setValueFromSource({ dataType, value, arrayType: more.valueRank ? VariantArrayType.Array : VariantArrayType.Scalar });
    return node;
  };
  let degrees = 20;
  const temp = variable("Temp", DataType.Double, degrees);
  setInterval(() => temp.setValueFromSource({ dataType: DataType.Double, value: (degrees += 0.5) }), 100);
  variable("SetPoint", DataType.Double, 50);
  variable("Small", DataType.Int16, -3);
  variable("Ratio", DataType.Float, 0.1);
  variable("Name", DataType.String, "boiler");
  variable("On", DataType.Boolean, false);
  variable("Long", DataType.Int64, [0, 5]);
  variable("Arr", DataType.Int32, new Int32Array([1, 2, 3]), { valueRank: 1 });
  variable("Range", DataType.ExtensionObject, undefined, {
    dataType: "Range",
    value: { dataType: DataType.ExtensionObject, value: space.constructExtensionObject(space.findDataType("Range"), { low: -1, high: 9 }) },
  });
  variable("Bad", DataType.Double, undefined, {
    value: { timestamped_get: () => new DataValue({ statusCode: StatusCodes.BadDeviceFailure }) },
  });
  variable("Shaky", DataType.Double, undefined, {
    value: { timestamped_get: () => new DataValue({
      statusCode: StatusCodes.UncertainLastUsableValue, value: new Variant({ dataType: DataType.Double, value: 7.5 }),
      sourceTimestamp: new Date("2024-05-06T07:08:09.123Z"),
    }) },
  });
  for (let number = 0; number < 30; number++) variable(`N${number}`, DataType.UInt32, number);
  const add = ns.addMethod(boiler, {
    browseName: "Add", nodeId: "s=Add",
    inputArguments: [{ name: "a", dataType: DataType.Int32 }, { name: "b", dataType: DataType.Int32 }],
    outputArguments: [{ name: "sum", dataType: DataType.Int32 }],
  });
  add.bindMethod((given, context, done) => done(null, {
    statusCode: StatusCodes.Good, outputArguments: [{ dataType: DataType.Int32, value: given[0].value + given[1].value }],
  }));
  await server.start();
  const sessions = () => process.stdout.write(`sessions ${server.engine.currentSessionCount} ${server.engine.currentSubscriptionCount}\n`);
  // By its own call: files that are only moved are seen when the watcher of the folder gets to it, at any time later.
  const trust = async () => {
    const files = readdirSync(join(folder, "rejected"));
    for (const file of files) {
      const pem = readFileSync(join(folder, "rejected", file), "utf8");
      await manager.trustCertificate(Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64"));
    }
    process.stdout.write(`trusted ${files.length}\n`);
  };
  process.stdin.on("data", (line) => (line.toString().startsWith("trust") ? trust() : sessions()));
  process.on("SIGTERM", async () => { await server.shutdown(100); process.exit(0); });
  process.stdout.write(`up ${server.endpoints[0].port}\n`);
}
main().catch((error) => { process.stderr.write(`${error.stack}\n`); process.exit(1); });
