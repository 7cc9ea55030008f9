#!/usr/bin/env node
'use strict';
// The same with Fastify: node fastify.js FUNCTIONS.wasm [PORT]
const fs = require('node:fs');
const fastify = require('fastify');
const { Engine } = require('gasworks');

const statuses = { 'out of gas': 402, ERR_GASWORKS_FUNCTION: 400, ERR_GASWORKS_NOT_FOUND: 404 };

async function main(file, port) {
  const pool = (await new Engine().compile(fs.readFileSync(file))).pool({}, { max: 32, gasLimit: 20e9, maxMemory: 64 << 20 });
  const app = fastify({ bodyLimit: 1 << 20 });
  app.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => done(null, body));
  app.setErrorHandler((error, request, reply) =>
    reply.header('Gasworks-Gas', error.gas ?? 0).code(statuses[error.trap ?? error.code] ?? error.statusCode ?? 500).send({ error: error.message }));
  app.post('/:name', async (request, reply) => {
    const { value, gas } = await pool.run(request.params.name, [String(request.body ?? '')]);
    return reply.header('Gasworks-Gas', gas).type('application/json').send(JSON.stringify(value));
  });
  console.log(`serving on ${await app.listen({ host: '127.0.0.1', port })}`);
}

main(process.argv[2], Number(process.argv[3] ?? 8082));
