// Asks idalloc for ids over RabbitMQ, with nothing but amqplib and the JSON contract.
//
//   npm install
//   AMQP_URL=amqp://idalloc-caller:secret@localhost/idalloc node alloc.mjs order        one id
//   AMQP_URL=amqp://idalloc-caller:secret@localhost/idalloc node alloc.mjs order 500    a batch
//   AMQP_URL=amqp://idalloc-caller:secret@localhost/idalloc node alloc.mjs --health     how a worker stands

import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import amqp from "amqplib";

// Direct reply-to: replies come back on this connection, without a queue to declare.
const REPLY_TO = "amq.rabbitmq.reply-to";

// `code` is the contract's resp_code; it is missing if no worker answered.
export class IdallocError extends Error {
  constructor(message, { code, retryAfterMs } = {}) {
    super(message);
    this.name = "IdallocError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

// One connection, any number of calls in flight. It does not reconnect: make a new one if it closed.
export class IdallocClient {
  #calls = new Map(); // correlation id -> what to do with its reply
  #closed = null;

  static async connect(url) {
    const client = new IdallocClient();
    client.connection = await amqp.connect(url, {
      timeout: 5000, // ms, for the TCP connection
      clientProperties: { connection_name: `idalloc example client ${process.pid}` },
    });
    client.connection.on("error", (error) => client.#fail(error.message)); // "close" follows
    client.connection.on("close", () => client.#fail("the connection is closed"));
    client.channel = await client.connection.createChannel();
    client.channel.on("error", (error) => client.#fail(error.message));
    client.channel.on("close", () => client.#fail("the channel is closed"));
    client.channel.on("return", (message) => client.#onReturn(message));
    // Requests must be published on the channel that consumes the replies.
    await client.channel.consume(REPLY_TO, (message) => client.#onReply(message), { noAck: true });
    return client;
  }

  // Resolves to half-open ranges [left, right): [[7, 100], [300, 307]] are 100 ids.
  async nextIds(appTag, count = 1, timeoutMs = 5000) {
    const reply = await this.call("id.alloc", { app_tag: appTag, count }, timeoutMs);
    if (!reply.ranges.flat().every(Number.isSafeInteger)) {
      throw new IdallocError("these ids need a JSON parser that reads 64-bit integers");
    }
    return reply.ranges;
  }

  // What one worker holds, of one tag or of all.
  health(appTag, timeoutMs = 5000) {
    return this.call("id.health", appTag === undefined ? {} : { app_tag: appTag }, timeoutMs);
  }

  call(queue, request, timeoutMs) {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new IdallocError(this.#closed);
      const correlationId = randomUUID();
      const timer = setTimeout(
        () => this.#end(correlationId)?.reject(new IdallocError(`no reply in ${timeoutMs} ms`)),
        timeoutMs,
      );
      this.#calls.set(correlationId, { resolve, reject, timer });
      this.channel.sendToQueue(queue, Buffer.from(JSON.stringify(request)), {
        replyTo: REPLY_TO,
        correlationId,
        expiration: timeoutMs, // work past this time is dropped and uses up no id
        mandatory: true, // a missing queue is told at once
        contentType: "application/json",
      });
    });
  }

  async close() {
    await this.connection.close();
  }

  #onReply(message) {
    if (message === null) return this.#fail("the broker cancelled the reply consumer");
    const call = this.#end(message.properties.correlationId);
    if (!call) return; // late: nobody waits for it any more
    try {
      const reply = JSON.parse(message.content.toString());
      if (reply.resp_code === 0) return call.resolve(reply);
      const { resp_code: code, retry_after_ms: retryAfterMs } = reply;
      call.reject(new IdallocError(reply.msg, { code, retryAfterMs }));
    } catch (error) {
      call.reject(new IdallocError(`unreadable reply: ${error.message}`));
    }
  }

  #onReturn(message) {
    const { correlationId } = message.properties;
    const reason = `no queue ${message.fields.routingKey}: is a worker running?`;
    this.#end(correlationId)?.reject(new IdallocError(reason));
  }

  #end(correlationId) {
    const call = this.#calls.get(correlationId);
    this.#calls.delete(correlationId);
    clearTimeout(call?.timer);
    return call;
  }

  #fail(reason) {
    this.#closed ??= reason;
    for (const correlationId of this.#calls.keys()) {
      this.#end(correlationId).reject(new IdallocError(this.#closed));
    }
  }
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
