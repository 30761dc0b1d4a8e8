// Reads and writes with npm node-bacnet: node bacnet_client.js PORT. Prints what it saw as JSON.
const Bacnet = require("node-bacnet");

const E = Bacnet.enum;
const client = new Bacnet({ port: 0, interface: "127.0.0.1", apduTimeout: 2000 });
const receiver = { address: `127.0.0.1:${process.argv[2]}` };
const value = { type: 2, instance: 1 };
const PRESENT = 85;

const call = (verb, ...given) =>
  new Promise((done, fail) => client[verb](receiver, ...given, (error, found) => (error ? fail(error) : done(found))));

async function main() {
  const told = {};
  const plain = async (object, property, options = {}) => {
    const found = await call("readProperty", object, property, options);
    return found.values.map((one) => one.value);
  };
  told.before = (await plain(value, PRESENT))[0];
  told.name = (await plain({ type: 8, instance: 599 }, 77))[0];
  told.count = (await plain({ type: 8, instance: 599 }, 76, { arrayIndex: 0 }))[0];
  const many = await call("readPropertyMultiple", [
    { objectId: value, properties: [{ id: PRESENT }, { id: 111 }] },
    { objectId: { type: 5, instance: 1 }, properties: [{ id: PRESENT }, { id: 9999 }] },
  ], {});
  told.many = many.values.map((one) => one.values.map((each) => (each.value[0].type === 105 ? "error" : each.value[0].type)));
  await call("writeProperty", value, PRESENT, [{ type: E.ApplicationTag.REAL, value: 71.5 }], { priority: 8 });
  told.after = (await plain(value, PRESENT))[0];
  told.slot = (await plain(value, 87, { arrayIndex: 8 }))[0];
  await call("writeProperty", value, PRESENT, [{ type: E.ApplicationTag.NULL, value: null }], { priority: 8 });
  told.released = (await plain(value, PRESENT))[0];
  try {
    await plain({ type: 2, instance: 77 }, PRESENT);
  } catch (error) {
    told.missing = String(error.message);
  }
  console.log(JSON.stringify(told));
  client.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
