// Reads and writes with npm nodes7: node s7_client.js PORT. Prints what it read as JSON, before and after its writes.
const nodes7 = require("nodes7");

const ITEMS = {
  int: "DB1,INT0",
  dint: "DB1,DINT2",
  real: "DB1,REAL8",
  bit: "DB1,X12.0",
  neighbour: "DB1,X12.1",
  text: "DB1,S20.10",
  far: "DB2,BYTE200",
  flag: "MB3",
};
const WRITES = [["real", "bit", "text"], [71.5, false, "Hello"]];

const connection = new nodes7({ silent: true });
const fail = (why) => {
  console.error(why);
  process.exit(1);
};

connection.initiateConnection({ port: Number(process.argv[2]), host: "127.0.0.1", rack: 0, slot: 1, debug: false }, (error) => {
  if (error) fail(error);
  connection.setTranslationCB((tag) => ITEMS[tag]);
  connection.addItems(Object.keys(ITEMS));
  connection.readAllItems((bad, before) => {
    if (bad) fail(`bad values: ${JSON.stringify(before)}`);
    connection.writeItems(...WRITES, (refused) => {
      if (refused) fail("a write was refused");
      connection.readAllItems((worse, after) => {
        if (worse) fail(`bad values: ${JSON.stringify(after)}`);
        console.log(JSON.stringify({ before, after }));
        connection.dropConnection(() => process.exit(0));
      });
    });
  });
});
