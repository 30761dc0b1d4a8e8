// A CoAP peer on npm coap.
//   node coap_node.js serve PORT           /sensor counts up and can be observed, /big is 4 KiB in blocks
//   node coap_node.js observe URL COUNT    prints the payloads of so many notifications, then ends
const coap = require("coap");

const [mode, where, count] = process.argv.slice(2);

if (mode === "serve") {
  const server = coap.createServer((request, response) => {
    if (request.url === "/sensor" && request.headers.Observe === 0) {
      let value = 0;
      response.write(String(value));
      const timer = setInterval(() => response.write(String(++value)), 50);
      response.on("finish", () => clearInterval(timer));
    } else if (request.url === "/big") {
      response.end("0123456789abcdef".repeat(256));
    } else if (request.url === "/sensor") {
      response.end("0");
    } else {
      response.code = "4.04";
      response.end();
    }
  });
  server.listen(Number(where), "127.0.0.1", () => console.log("ready"));
} else {
  const url = new URL(where);
  const request = coap.request({
    hostname: url.hostname,
    port: Number(url.port),
    pathname: url.pathname,
    query: url.search.slice(1),
    observe: true,
  });
  let seen = 0;
  request.on("response", (response) => {
    response.on("data", (data) => {
      console.log(data.toString());
      if (++seen === Number(count)) {
        response.close();
        setTimeout(() => process.exit(0), 200);
      }
    });
  });
  request.end();
}
