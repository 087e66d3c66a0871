// @google-cloud/bigquery lists, copies, loads and queries: https://googleapis.dev/nodejs/bigquery/latest/.
const { test, before } = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { createRequire } = require("node:module");

const { BigQuery } = createRequire(path.join(process.env.NODE_PATH, "here"))("@google-cloud/bigquery");

// With the variable set this client asks under the bare host, without /bigquery/v2.
const apiEndpoint = process.env.BIGQUERY_EMULATOR_HOST;
delete process.env.BIGQUERY_EMULATOR_HOST;
const bigquery = new BigQuery({ projectId: process.env.GOOGLE_CLOUD_PROJECT, apiEndpoint });
const dataset = bigquery.dataset("node");
const schema = [
  { name: "id", type: "INTEGER" },
  { name: "item", type: "STRING" },
];

before(async () => {
  await bigquery.createDataset("node", { location: "US" });
  await dataset.createTable("orders", { schema });
  await dataset.table("orders").insert([{ id: 1, item: "pen" }, { id: 2, item: "ink" }]);
});

async function rowsOf(query, options = {}) {
  const [rows] = await bigquery.query({ query, ...options });
  return rows;
}

function file(name, content) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "peers-"));
  fs.writeFileSync(path.join(folder, name), content);
  return path.join(folder, name);
}

test("datasets and tables are listed", async () => {
  const [datasets] = await bigquery.getDatasets();
  const [tables] = await dataset.getTables();

  assert.ok(datasets.map((d) => d.id).includes("node"));
  assert.ok(tables.map((t) => t.id).includes("orders"));
});

test("lists come in pages", async () => {
  await Promise.all(["p1", "p2", "p3"].map((id) => dataset.createTable(id, { schema })));
  const [first, next] = await dataset.getTables({ maxResults: 2, autoPaginate: false });

  assert.equal(first.length, 2);
  assert.ok(next.pageToken);
});

test("streamed rows are queried", async () => {
  const rows = await rowsOf("SELECT item FROM node.orders ORDER BY id");

  assert.deepEqual(rows, [{ item: "pen" }, { item: "ink" }]);
});

test("parameters are bound", async () => {
  const rows = await rowsOf("SELECT @n + 1 AS m, @names AS names", { params: { n: 1, names: ["a", "b"] } });

  assert.deepEqual(rows, [{ m: 2, names: ["a", "b"] }]);
});

test("types come back", async () => {
  const [row] = await rowsOf("SELECT DATE '2024-01-01' AS d, TIMESTAMP '2024-01-01 10:00:00+00' AS t, STRUCT(1 AS a) AS s");

  assert.equal(row.d.value, "2024-01-01");
  assert.equal(row.t.value, "2024-01-01T10:00:00.000Z");
  assert.deepEqual(row.s, { a: 1 });
});

test("a table is loaded of a file and copied", async () => {
  const content = '{"id": 1, "item": "pen"}\n{"id": 2, "item": "cup"}\n';
  await dataset.table("loaded").load(file("rows.json", content), { format: "JSON", schema: { fields: schema } });
  await dataset.table("loaded").copy(dataset.table("copied"));
  const [rows] = await dataset.table("copied").getRows();

  assert.deepEqual(rows.map((r) => r.item).sort(), ["cup", "pen"]);
});

test("a CSV is loaded with detection", async () => {
  await dataset.table("detected").load(file("rows.csv", "id,item\n1,pen\n"), { autodetect: true, skipLeadingRows: 1 });
  const [metadata] = await dataset.table("detected").getMetadata();

  assert.deepEqual(metadata.schema.fields.map((f) => f.type), ["INTEGER", "STRING"]);
});

test("a query job is asked for, waited for and found", async () => {
  const [job] = await bigquery.createQueryJob({ query: "SELECT 1 AS a" });
  const [rows] = await job.getQueryResults();
  const [jobs] = await bigquery.getJobs({ maxResults: 5 });

  assert.deepEqual(rows, [{ a: 1 }]);
  assert.ok(jobs.map((j) => j.id).includes(job.id));
});

test("metadata is changed", async () => {
  await dataset.table("orders").setMetadata({ description: "all", labels: { team: "sales" } });
  const [metadata] = await dataset.table("orders").getMetadata();

  assert.equal(metadata.description, "all");
  assert.equal(metadata.labels.team, "sales");
});

test("bad rows are told one by one", async () => {
  const inserted = dataset.table("orders").insert([{ id: "x" }, { id: 3, item: "cap" }]);

  await assert.rejects(inserted, { name: "PartialFailureError" });
});

test("a missing table is a 404", async () => {
  await assert.rejects(dataset.table("none").getMetadata(), { code: 404 });
});

test("rows are read in pages", async () => {
  const [job] = await bigquery.createQueryJob({ query: "SELECT n FROM UNNEST(GENERATE_ARRAY(1, 25)) AS n" });
  const pages = [];
  let next = { maxResults: 10, autoPaginate: false };
  while (next) {
    const [rows, query] = await job.getQueryResults(next);
    pages.push(rows.length);
    next = query;
  }

  assert.deepEqual(pages, [10, 10, 5]);
});

test("rows are streamed", async () => {
  let count = 0;
  for await (const _ of bigquery.createQueryStream("SELECT n FROM UNNEST(GENERATE_ARRAY(1, 25)) AS n")) count += 1;

  assert.equal(count, 25);
});

test("a table is deleted", async () => {
  const [table] = await dataset.createTable("doomed", { schema });
  await table.delete();
  const [exists] = await table.exists();

  assert.equal(exists, false);
});
