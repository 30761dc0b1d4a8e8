// A node-opcua client for the tests. Arguments: url, policy, folder for its keys, user, password, then node ids and
// writes (node=number). Prints one line of JSON for each: {node, value, status, time} or {node, written}.
const {
  OPCUAClient, OPCUACertificateManager, SecurityPolicy, MessageSecurityMode, UserTokenType, AttributeIds, DataType,
  TimestampsToReturn,
} = require("node-opcua");

async function main() {
  const [url, policy, folder, user, password, ...words] = process.argv.slice(2);
  const manager = new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: true });
  await manager.initialize();
  const client = OPCUAClient.create({
    endpointMustExist: false, clientCertificateManager: manager,
    securityPolicy: SecurityPolicy[policy],
    securityMode: policy === "None" ? MessageSecurityMode.None : MessageSecurityMode.SignAndEncrypt,
    connectionStrategy: { maxRetry: 0, initialDelay: 100 },
  });
  await client.connect(url);
  const login = user ? { type: UserTokenType.UserName, userName: user, password } : { type: UserTokenType.Anonymous };
  const session = await client.createSession(login);
  const index = (await session.readNamespaceArray()).indexOf("urn:edge-gateway:points");
  const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
  for (const word of words) {
    const [name, text] = word.split("=");
    const nodeId = `ns=${index};s=${name}`;
    if (text !== undefined) {
      const value = { value: { dataType: DataType.Double, value: Number(text) } };
      say({ node: name, written: (await session.write({ nodeId, attributeId: AttributeIds.Value, value })).name });
      continue;
    }
    const read = await session.read({ nodeId, attributeId: AttributeIds.Value });
    say({ node: name, value: read.value.value, status: read.statusCode.name, time: read.sourceTimestamp });
  }
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10, publishingEnabled: true,
  });
  const item = await subscription.monitor(
    { nodeId: `ns=${index};s=${words[0]}`, attributeId: AttributeIds.Value },
    { samplingInterval: 50, queueSize: 10, discardOldest: true }, TimestampsToReturn.Both,
  );
  const reported = await new Promise((resolve) => item.once("changed", resolve));
  say({ node: words[0], reported: reported.value.value });
  await client.closeSession(session, true);
  await client.disconnect();
}
main().catch((error) => { process.stdout.write(`${JSON.stringify({ error: error.message })}\n`); process.exit(1); });
