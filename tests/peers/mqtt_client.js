// A client on mqtt.js: node mqtt_client.js '{"url": ..., "version": 4|5, "ca": PEM file, "act": ...}'
//   {"act": "subscribe", "topic", "qos"}                     prints "subscribed", then "<qos> <retain 0|1> <payload>" for each message
//   {"act": "publish", "topic", "payload", "qos", "retain"}  prints "published" once it is acknowledged, and ends
//   {"act": "will", "topic", "payload", "qos"}               prints "connected" with this will set, and stays
const fs = require("fs");
const mqtt = require("mqtt");

const order = JSON.parse(process.argv[2]);
const options = { protocolVersion: order.version, reconnectPeriod: 0 };
if (order.ca) options.ca = fs.readFileSync(order.ca);
if (order.act === "will") options.will = { topic: order.topic, payload: order.payload, qos: order.qos, retain: false };

function fail(error) {
  console.error(error);
  process.exit(1);
}

const client = mqtt.connect(order.url, options);
client.on("error", fail);
client.on("message", (topic, payload, packet) => console.log(`${packet.qos} ${packet.retain ? 1 : 0} ${payload}`));
client.on("connect", () => {
  if (order.act === "subscribe") {
    client.subscribe(order.topic, { qos: order.qos }, (error) => (error ? fail(error) : console.log("subscribed")));
  } else if (order.act === "publish") {
    client.publish(order.topic, order.payload, { qos: order.qos, retain: order.retain }, (error) => {
      if (error) fail(error);
      console.log("published");
      client.end();
    });
  } else {
    console.log("connected");
  }
});
