// The factory's side with Microsoft's own client: prints one JSON object of what each verb gave.
// Its code is as published; it is only given an agent, since it knows no port but 443.
"use strict";
const fs = require("fs");
const https = require("https");
const tls = require("tls");
const { ProvisioningServiceClient } = require("azure-iot-provisioning-service");

const [port, certificate, ca] = process.argv.slice(2);
const key = fs.readFileSync(0, "utf8").trim();
const agent = new https.Agent({ keepAlive: false, ca: fs.readFileSync(ca, "utf8") });
agent.createConnection = (options, done) =>
  tls.connect({ ...options, host: "127.0.0.1", port: Number(port), servername: "localhost", ca: agent.options.ca }, done);
const policy = `HostName=localhost;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey=${key}`;
const client = ProvisioningServiceClient.fromConnectionString(policy);
client._restApiClient.setOptions({ http: { agent } });

const body = (result) => (result && result.responseBody !== undefined ? result.responseBody : result);
const told = {};
const tried = async (name, verb) => {
  try {
    told[name] = body(await verb());
  } catch (problem) {
    told[name] = { error: problem.name, status: problem.response && problem.response.statusCode };
  }
};

(async () => {
  const group = {
    enrollmentGroupId: "line-1",
    attestation: {
      type: "x509",
      x509: { signingCertificates: { primary: { certificate: fs.readFileSync(certificate, "utf8") } } },
    },
    provisioningStatus: "enabled",
    capabilities: { iotEdge: true },
    initialTwin: { tags: { line: 1 }, properties: { desired: { led: "on" } } },
  };
  await tried("made", () => client.createOrUpdateEnrollmentGroup(group));
  await tried("twice", () => client.createOrUpdateEnrollmentGroup(group));
  await tried("got", () => client.getEnrollmentGroup("line-1"));
  await tried("put_back", () => client.createOrUpdateEnrollmentGroup({ ...told.got, provisioningStatus: "disabled" }));
  await tried("stale", () => client.createOrUpdateEnrollmentGroup(told.got));
  await tried("attestation", () => client.getEnrollmentGroupAttestationMechanism("line-1"));
  await tried("nobody", () => client.getDeviceRegistrationState("tb-0"));
  await tried("listed", () => client.createEnrollmentGroupQuery({ query: "*" }, 10).next());
  await tried("removed", () => client.deleteEnrollmentGroup("line-1"));
  await tried("gone", () => client.getEnrollmentGroup("line-1"));
  process.stdout.write(JSON.stringify(told) + "\n", () => process.exit(0));
})();
