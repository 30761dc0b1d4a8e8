// Clients on mqtt.js. One order, {"url": ..., "version": 4|5, "ca": PEM file, "act": ...}, as the argument:
//   {"act": "subscribe", "topic", "qos"}                     prints "subscribed", then "<qos> <retain 0|1> <payload>" for each message
//   {"act": "publish", "topic", "payload", "qos", "retain"}  prints "published" once it is acknowledged, and ends
//   {"act": "die", "topic", "payload", "qos"}                breaks its connection, with this will set; prints "dead"
// Without an argument: orders as lines of stdin, each with an "id", which stands before every line printed for it; and
//   {"act": "close", "of": id}                               ends that subscriber; prints "closed"
const fs = require("fs");
const mqtt = require("mqtt");

const subscribers = new Map();

function carryOut(order, say) {
  if (order.act === "close") {
    subscribers.get(order.of).end(false, () => say("closed"));
    return;
  }
  const options = { protocolVersion: order.version, reconnectPeriod: 0 };
  if (order.ca) options.ca = fs.readFileSync(order.ca);
  if (order.act === "die") options.will = { topic: order.topic, payload: order.payload, qos: order.qos, retain: false };
  const fail = (error) => {
    console.error(error);
    process.exit(1);
  };
  const client = mqtt.connect(order.url, options);
  client.on("error", fail);
  client.on("message", (topic, payload, packet) => say(`${packet.qos} ${packet.retain ? 1 : 0} ${payload}`));
  client.on("connect", () => {
    if (order.act === "subscribe") {
      subscribers.set(order.id, client);
      client.subscribe(order.topic, { qos: order.qos }, (error) => (error ? fail(error) : say("subscribed")));
    } else if (order.act === "publish") {
      client.publish(order.topic, order.payload, { qos: order.qos, retain: order.retain }, (error) => {
        if (error) fail(error);
        client.end(false, () => say("published"));
      });
    } else {
      client.stream.destroy();
      say("dead");
    }
  });
}

if (process.argv[2]) {
  carryOut(JSON.parse(process.argv[2]), (text) => console.log(text));
} else {
  const lines = require("readline").createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const order = JSON.parse(line);
    carryOut(order, (text) => console.log(`${order.id} ${text}`));
  });
  lines.on("close", () => process.exit(0));
}
