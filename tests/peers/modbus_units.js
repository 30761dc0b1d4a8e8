// A Modbus server on npm modbus-serial with all units behind one endpoint: node modbus_units.js PORT for TCP,
// node modbus_units.js /dev/pts/N for a serial line with RTU frames at 9600 8N1.
// Holding register i of a unit holds i until it is written. Register 900 counts how often it was read.
// Unit 3 answers after 0.8 s, unit 4 never, unit 5 with exception 2 (illegal data address).
const { ServerSerial, ServerTCP } = require("modbus-serial");

const SLOW_MS = 800;
const COUNTER = 900;
const written = new Map();
const reads = new Map();

function answer(unit, value, callback) {
  if (unit === 3) setTimeout(() => callback(null, value), SLOW_MS);
  else if (unit === 5) callback({ modbusErrorCode: 2, msg: "illegal data address" });
  else if (unit !== 4) callback(null, value);
}

function holding(address, unit) {
  const key = `${unit}:${address}`;
  if (address === COUNTER) {
    const count = ((reads.get(unit) ?? 0) + 1) & 0xffff;
    reads.set(unit, count);
    return count;
  }
  return written.get(key) ?? address;
}

const registers = {
  getHoldingRegister: (address, unit, callback) => answer(unit, holding(address, unit), callback),
  getInputRegister: (address, unit, callback) => answer(unit, (1000 * unit + address) & 0xffff, callback),
  getCoil: (address, unit, callback) => answer(unit, address % 2 === 1, callback),
  getDiscreteInput: (address, unit, callback) => answer(unit, address % 2 === 0, callback),
  setRegister: (address, value, unit, callback) => {
    written.set(`${unit}:${address}`, value);
    answer(unit, undefined, callback);
  },
  setCoil: (address, value, unit, callback) => answer(unit, undefined, callback),
};

if (process.argv[2].startsWith("/")) {
  // unitID 255 here means: answer for every unit.
  const options = { port: process.argv[2], baudRate: 9600, unitID: 255, interval: 5 };
  const server = new ServerSerial(registers, options);
  server.on("initialized", () => console.log("up"));
  server.on("error", (error) => console.error(error && error.message));
} else {
  // unitID 0 here means: answer for every unit.
  const server = new ServerTCP(registers, { host: "127.0.0.1", port: Number(process.argv[2]), unitID: 0 });
  server.on("socketError", (error) => console.error(error.message));
}
