// node-redis: a listener, and publish() in batches, which it pipelines by itself. The modes are those of __init__.py.
'use strict';

const { createClient } = require('redis');

const CHANNEL = 'notifications';
const SIZE = Number(process.env.SIZE ?? 200);
const SHOWN = 1000; // characters of the data in a log line, as in common.py
const PAYLOAD = 'The quick brown fox jumps over the lazy dog. '.repeat(SIZE / 45 + 1).slice(0, SIZE);
const PAD = PAYLOAD.slice(0, 165);
const [place, mode, ...numbers] = process.argv.slice(2);

// Date.now() only counts milliseconds.
const now = () => Math.round((performance.timeOrigin + performance.now()) * 1000);
const begin = () => {
  console.log('{"event":"started"}');
  return performance.now();
};
const finish = (began) => console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000 }));

const modes = {
  log: (client) =>
    client.subscribe(CHANNEL, (data, channel) => {
      const timestamp = new Date().toISOString();
      const line = { timestamp, level: 'info', event: 'message_received', channel, data: data.slice(0, SHOWN) };
      console.log(JSON.stringify(line));
    }),

  trace: (client) =>
    client.subscribe(CHANNEL, (data, channel) => {
      const timestamp = new Date().toISOString();
      const latency_ms = (now() - Number(data.slice(8, 24))) / 1000;
      console.log(JSON.stringify({ timestamp, level: 'info', event: 'message_received', channel, latency_ms, data }));
    }),

  async record(client, count) {
    const ages = [];
    await client.subscribe(CHANNEL, (data) => {
      ages.push(now() - Number(data.slice(8, 24)));
      if (ages.length === count) {
        console.log(JSON.stringify(ages));
        client.disconnect();
      }
    });
  },

  async flood(client, count, size) {
    const began = begin();
    for (let made = 0; made < count; made += size) {
      const batch = [];
      for (let n = Math.min(size, count - made); n > 0; n--) batch.push(client.publish(CHANNEL, PAYLOAD));
      await Promise.all(batch);
    }
    finish(began);
    await client.disconnect();
  },

  async pace(client, rate, count) {
    const began = begin();
    let made = 0;
    let last;
    const tick = async () => {
      const due = Math.min(Math.floor((performance.now() - began) / 1000 * rate) + 1, count);
      for (; made < due; made++) last = client.publish(CHANNEL, `{"sent":${now()},"data":"${PAD}"}`);
      if (made < count) return setTimeout(tick, 1);
      await last;
      finish(began);
      await client.disconnect();
    };
    await tick();
  },
};

(async () => {
  const socket = place.startsWith('/') ? { path: place } : { host: '127.0.0.1', port: Number(place) };
  const client = createClient({ socket });
  client.on('error', (error) => { throw error; });
  await client.connect();
  await modes[mode](client, ...numbers.map(Number));
})();
