// Runs the vectors of docs/contract/vectors, as the README there describes them.
//
//   AMQP_URL=amqp://... node conformance.mjs requests    against a worker whose table has the rows
//   AMQP_URL=amqp://... node conformance.mjs replies     alloc.mjs, against a worker that plays them
//
// Prints what went wrong, one line each, and ends with 1 if anything did.

import { readFileSync } from "node:fs";
import amqp from "amqplib";
import { IdallocClient } from "./alloc.mjs";

const FOLDER = process.env.VECTORS ?? new URL("../../contract/vectors", import.meta.url).pathname;
const URL_OF_BROKER = process.env.AMQP_URL ?? "amqp://localhost";
const REPLY_TO = "amq.rabbitmq.reply-to";

const read = (kind) => JSON.parse(readFileSync(`${FOLDER}/${kind}.json`, "utf8")).vectors;
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

async function requests(wrong) {
  const connection = await amqp.connect(URL_OF_BROKER);
  const channel = await connection.createChannel();
  let arrived;
  await channel.consume(REPLY_TO, (message) => arrived(message), { noAck: true });
  const user = decodeURIComponent(new URL(URL_OF_BROKER).username);
  for (const vector of read("requests")) {
    const answer = new Promise((resolve) => (arrived = resolve));
    const options = properties(vector, user);
    channel.sendToQueue(vector.queue ?? "id.alloc", bodyOf(vector), options);
    if (vector.expect === null) continue; // the next one would get the answer
    const message = await answer;
    const reply = JSON.parse(message.content.toString());
    if (message.properties.correlationId !== options.correlationId || !fits(reply, vector.expect)) {
      wrong(`${vector.name}: ${message.content}`);
    }
  }
  await connection.close();
}

function properties({ name, properties: given = {} }, user) {
  const all = { reply_to: REPLY_TO, correlation_id: name, ...given };
  const value = (key) => (all[key] === "$user" ? user : (all[key] ?? undefined));
  return {
    replyTo: value("reply_to"),
    correlationId: value("correlation_id"),
    userId: value("user_id"),
    contentType: value("content_type"),
    type: value("type"),
  };
}

function bodyOf({ body, body_hex: hex, pad_to: size = 0 }) {
  if (hex !== undefined) return Buffer.from(hex, "hex");
  const bytes = Buffer.from(body);
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, size - bytes.length), " ")]);
}

function fits(reply, { resp_code, msg, about = "", ids, states = {} }) {
  const stateOf = (tag) => reply.tags?.find(({ app_tag }) => app_tag === tag)?.state;
  return (
    reply.resp_code === resp_code &&
    reply.msg === (msg ?? reply.msg) &&
    reply.msg.includes(about) &&
    (ids === undefined ? reply.id === undefined : countIds(reply) === ids) &&
    Object.entries(states).every(([tag, state]) => stateOf(tag) === state)
  );
}

function countIds({ id, ranges }) {
  const ends = ranges.flat();
  const rises = ends.every((end, index) => index === 0 || end >= ends[index - 1]);
  return rises && ends[0] === id && ranges.reduce((sum, [left, right]) => sum + right - left, 0);
}

async function replies(wrong) {
  const client = await IdallocClient.connect(URL_OF_BROKER);
  for (const { tag, count, deadline_ms: deadline = 30_000, may_refuse, expect } of read("replies")) {
    const start = performance.now();
    const end = await client.nextNumbers(tag, count, deadline).then(
      ({ ranges, period }) => ({ ranges: ranges.map((pair) => pair.map(String)), period }),
      ({ code, message }) => ({ code, message }),
    );
    const soon = performance.now() - start < (expect.earliest_ms ?? 0);
    if (soon || !ended(end, expect, may_refuse)) wrong(`${tag}: ${JSON.stringify(end)}`);
  }
  await client.close();
}

function ended({ ranges, period, code }, expect, mayRefuse) {
  if (ranges) return same(ranges, expect.ranges) && period === expect.period;
  if (expect.codes) return expect.codes.includes(code);
  return code === undefined && (expect.unreadable === true || mayRefuse !== undefined);
}

const run = { requests, replies }[process.argv[2]];
if (run === undefined) throw new Error("usage: node conformance.mjs requests | replies");
await run((line) => {
  console.log(line);
  process.exitCode = 1;
});
