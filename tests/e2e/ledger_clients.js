// CLIENTS at once, each with so many TRANSFERS between ten accounts: every one is answered, and none with a failure of the server.
// node ledger_clients.js BASE HOST CLIENTS TRANSFERS
'use strict';
const http = require('http');
const [base, host, clients, transfers] = [process.argv[2], process.argv[3], Number(process.argv[4]), Number(process.argv[5])];
const agent = new http.Agent({ keepAlive: true, maxSockets: clients });

const post = (path) => new Promise((resolve, reject) => {
  const request = http.request(base + path, { method: 'POST', agent, headers: { Host: host, 'Content-Length': 0 } }, (reply) => {
    reply.resume();
    reply.on('end', () => resolve(reply.statusCode));
  });
  request.on('error', reject);
  request.end();
});

async function client(id) {
  const answers = [];
  for (let i = 0; i < transfers; i++) {
    const from = (id + i) % 10, to = (from + 1 + (id * 7 + i) % 9) % 10;
    answers.push(await post(`/f/ledger?from=${from}&to=${to}&amount=${1 + (id + i) % 40}`));
  }
  return answers;
}

Promise.all(Array.from({ length: clients }, (_, id) => client(id))).then((all) => {
  const answers = all.flat(), count = (status) => answers.filter((a) => a === status).length;
  console.log(`${count(200)} transfers, ${count(409)} without means`);
  process.exit(count(200) > 0 && count(200) + count(409) === clients * transfers ? 0 : 1);
});
