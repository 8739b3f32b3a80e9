// Registers a device with Microsoft's own client; prints one JSON object.
// Its code is as published; it is only given an agent, since it knows no port but 443.
"use strict";
const fs = require("fs");
const https = require("https");
const tls = require("tls");
const base = require("azure-iot-http-base");
const { Http } = require("azure-iot-provisioning-device-http");
const { X509Security } = require("azure-iot-security-x509");
const { ProvisioningDeviceClient } = require("azure-iot-provisioning-device");

const [port, scope, id, chain, key, ca] = process.argv.slice(2);
const agent = new https.Agent({ keepAlive: false });
agent.createConnection = (options, done) =>
  tls.connect({ ...options, host: "127.0.0.1", port: Number(port), servername: "localhost" }, done);
const http = new base.Http();
http.setOptions({ http: { agent }, ca: fs.readFileSync(ca, "utf8") });

const identity = { cert: fs.readFileSync(chain, "utf8"), key: fs.readFileSync(key, "utf8") };
const transport = new Http(http);
const client = ProvisioningDeviceClient.create("localhost", scope, transport, new X509Security(id, identity));
client.register((problem, result) => {
  const told = problem
    ? { error: problem.name, message: String(problem.message), body: problem.responseBody || null }
    : { hub: result.assignedHub, device: result.deviceId, status: result.status };
  process.stdout.write(JSON.stringify(told) + "\n", () => process.exit(problem ? 1 : 0));
});
