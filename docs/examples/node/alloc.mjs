// Asks idalloc for ids over RabbitMQ, with nothing but amqplib and the JSON contract.
//
//   npm install
//   AMQP_URL=amqp://idalloc-caller:secret@localhost/idalloc node alloc.mjs order        one id
//   AMQP_URL=amqp://idalloc-caller:secret@localhost/idalloc node alloc.mjs order 500    a batch
//   AMQP_URL=amqp://idalloc-caller:secret@localhost/idalloc node alloc.mjs --health     how a worker stands

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import amqp from "amqplib";

// Direct reply-to: replies come back on this connection, without a queue to declare.
const REPLY_TO = "amq.rabbitmq.reply-to";

const NO_AVAILABLE_ID = -1;
const BUSY = -6;
const SHUTTING_DOWN = -7;

// `code` is the contract's resp_code; it is missing if no worker answered. `passes`: the same call
// may succeed a little later; `late`: the time was up.
export class IdallocError extends Error {
  constructor(message, { code, retryAfterMs, passes = false, late = false } = {}) {
    super(message);
    this.name = "IdallocError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.passes = passes;
    this.late = late;
  }
}

// One connection, any number of calls in flight. A lost connection is opened anew by whoever needs
// it, and what passes is asked again until the call's time is up. A repeated request can use up ids
// that nobody gets; no id comes twice.
export class IdallocClient {
  #url;
  #link = null; // a promise of the connection and its channel
  #calls = new Map(); // correlation id -> what to do with its reply
  #closed = false;

  constructor(url) {
    this.#url = url;
  }

  // A client that is connected; rejects if the broker cannot be reached.
  static async connect(url) {
    const client = new IdallocClient(url);
    await client.#connected();
    return client;
  }

  // Resolves to half-open ranges [left, right): [[7, 100], [300, 307]] are 100 ids.
  async nextIds(appTag, count = 1, timeoutMs = 5000) {
    const { ranges, period } = await this.nextNumbers(appTag, count, timeoutMs);
    if (period === undefined) return ranges;
    throw new IdallocError(`these numbers come again after ${period}: call nextNumbers`);
  }

  // For a tag that starts anew each day, month or year: resolves to a reply with `ranges` and the
  // one `period` in which all of these numbers are unique. Other tags have no period.
  nextNumbers(appTag, count = 1, timeoutMs = 5000) {
    return this.call("id.alloc", { app_tag: appTag, count }, timeoutMs, checkIds);
  }

  // What one worker holds, of one tag or of all.
  health(appTag, timeoutMs = 5000) {
    return this.call("id.health", appTag === undefined ? {} : { app_tag: appTag }, timeoutMs);
  }

  // Resolves to the reply, once it is a success and `check` found nothing wrong with it.
  async call(queue, request, timeoutMs, check = () => {}) {
    const deadline = performance.now() + timeoutMs;
    let answer; // the last refusal, which says more than that the time is up
    for (let pause = 100; ; pause = Math.min(2 * pause, 1000)) {
      try {
        const reply = await this.#attempt(queue, request, deadline);
        check(reply, request);
        return reply;
      } catch (error) {
        // Not all at the same time: the random part keeps callers apart.
        const wait = Math.max(error.retryAfterMs ?? 0, pause) * (1.1 + 0.4 * Math.random());
        if (error.code !== undefined) answer = error;
        if (error.late) throw answer ?? error;
        if (!error.passes || performance.now() + wait >= deadline) throw error;
        await sleep(wait);
      }
    }
  }

  async close() {
    this.#closed = true;
    const link = this.#link;
    if (link) await (await link).connection.close();
  }

  async #attempt(queue, request, deadline) {
    const correlationId = randomUUID();
    const left = deadline - performance.now();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(tooLate()), left);
    });
    try {
      return await Promise.race([this.#ask(queue, request, correlationId, deadline), late]);
    } finally {
      clearTimeout(timer);
      this.#calls.delete(correlationId);
    }
  }

  async #ask(queue, request, correlationId, deadline) {
    const { channel } = await this.#connected();
    const left = Math.ceil(deadline - performance.now());
    if (left <= 0) throw tooLate();
    const properties = {
      replyTo: REPLY_TO,
      correlationId,
      expiration: left, // work past this time is dropped and uses up no id
      mandatory: true, // a missing queue is told at once
      contentType: "application/json",
    };
    return new Promise((resolve, reject) => {
      this.#calls.set(correlationId, { resolve, reject });
      channel.publish("", queue, Buffer.from(JSON.stringify(request)), properties, (error) => {
        if (error) reject(notTaken(error)); // null: the broker has the request
      });
    });
  }

  #connected() {
    if (this.#closed) throw new IdallocError("the client is closed");
    this.#link ??= this.#open();
    return this.#link;
  }

  async #open() {
    let connection;
    const lost = (reason) => this.#lose(connection, reason);
    try {
      connection = await amqp.connect(this.#url, {
        timeout: 5000, // ms, for the TCP connection
        clientProperties: { connection_name: `idalloc example client ${process.pid}` },
      });
      connection.on("error", () => {}); // "close" follows
      connection.on("close", () => lost("the connection is closed"));
      // Confirms: a full queue says that it does not take the request.
      const channel = await connection.createConfirmChannel();
      channel.on("error", () => {});
      channel.on("close", () => lost("the channel is closed"));
      channel.on("return", (message) => this.#onReturn(message));
      // Requests must be published on the channel that consumes the replies.
      const consume = (message) =>
        message ? this.#onReply(message) : lost("the broker cancelled the reply consumer");
      await channel.consume(REPLY_TO, consume, { noAck: true });
      return { connection, channel };
    } catch (error) {
      lost(error.message);
      throw new IdallocError(error.message, { passes: true });
    }
  }

  // Forgets the connection; each call that waits for a reply on it tries again.
  #lose(connection, reason) {
    if (connection?.isLost) return;
    if (connection) connection.isLost = true;
    this.#link = null;
    connection?.close().catch(() => {}); // it may be gone already
    for (const { reject } of this.#calls.values()) {
      reject(new IdallocError(reason, { passes: !this.#closed }));
    }
  }

  #onReply(message) {
    const call = this.#calls.get(message.properties.correlationId);
    if (!call) return; // late: nobody waits for it any more
    try {
      const reply = JSON.parse(message.content.toString());
      if (!Number.isInteger(reply?.resp_code) || reply.resp_code > 0) throw new Error("no code");
      if (reply.resp_code === 0) call.resolve(reply);
      else call.reject(refused(reply));
    } catch (error) {
      call.reject(new IdallocError(`unreadable reply: ${error.message}`));
    }
  }

  #onReturn(message) {
    const { correlationId } = message.properties;
    const reason = `no queue ${message.fields.routingKey}: is a worker running?`;
    this.#calls.get(correlationId)?.reject(new IdallocError(reason));
  }
}

// Single ids from a batch that is kept in memory: one request for `size` ids. They rise, and belong
// to nobody else. Those that are left when the process ends are lost.
export class IdLease {
  #client;
  #appTag;
  #size;
  #ranges = [];
  #refill = null;

  constructor(client, appTag, size = 1000) {
    this.#client = client;
    this.#appTag = appTag;
    this.#size = size;
  }

  async next(timeoutMs = 5000) {
    while (this.#ranges.length === 0) {
      // Whoever comes meanwhile waits for the same batch.
      this.#refill ??= this.#fetch(timeoutMs).finally(() => (this.#refill = null));
      await this.#refill;
    }
    const range = this.#ranges[0];
    const id = range[0]++;
    if (range[0] === range[1]) this.#ranges.shift();
    return id;
  }

  async #fetch(timeoutMs) {
    this.#ranges = await this.#client.nextIds(this.#appTag, this.#size, timeoutMs);
  }
}

function tooLate() {
  return new IdallocError("no reply in time", { late: true });
}

// A worker's refusal; the code and the time that comes with it tell whether it passes.
function refused({ resp_code: code, msg, retry_after_ms: retryAfterMs }) {
  const toldWhen = (code === NO_AVAILABLE_ID || code === BUSY) && retryAfterMs !== undefined;
  return new IdallocError(msg, { code, retryAfterMs, passes: toldWhen || code === SHUTTING_DOWN });
}

// A request that the broker did not take: the queue is full, or the channel is gone.
function notTaken(error) {
  const code = error.message === "message nacked" ? BUSY : undefined;
  return new IdallocError(`the broker did not take it: ${error.message}`, { code, passes: true });
}

// Throws unless the reply has as many ids as were asked for, in ranges that rise.
function checkIds({ id, ranges }, { count }) {
  const ends = Array.isArray(ranges) ? ranges.flat() : [];
  if (!ends.every(Number.isSafeInteger)) {
    throw new IdallocError("these ids need a JSON parser that reads 64-bit integers");
  }
  let floor = 1;
  let found = 0;
  for (const [left, right] of ranges ?? []) {
    if (left < floor || right <= left) throw new IdallocError("unreadable reply: bad ranges");
    floor = right;
    found += right - left;
  }
  if (found !== count || ends[0] !== id) throw new IdallocError("unreadable reply: wrong ids");
}

async function main([appTag, argument]) {
  if (appTag === undefined) throw new Error("usage: node alloc.mjs TAG [COUNT] | --health [TAG]");
  const client = await IdallocClient.connect(process.env.AMQP_URL ?? "amqp://localhost");
  try {
    return appTag === "--health"
      ? await client.health(argument)
      : await client.nextIds(appTag, argument === undefined ? 1 : Number(argument));
  } finally {
    await client.close().catch(() => {}); // it may be gone already
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(JSON.stringify(await main(process.argv.slice(2))));
  } catch (error) {
    console.error(error.code === undefined ? error.message : `${error.code} ${error.message}`);
    process.exitCode = 1;
  }
}
