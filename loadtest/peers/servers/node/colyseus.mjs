// A Colyseus server: members of the same `room` share a room, and what one says is broadcast.
// Colyseus hosts a room in one process; several processes host several rooms.
// Environment: PORT.

import { createServer } from 'node:http';

import { defineRoom, defineServer, Room } from '@colyseus/core';
import { WebSocketTransport } from '@colyseus/ws-transport';

class Space extends Room {
  // There is no state to send: the messages are the work.
  patchRate = null;

  onCreate() {
    this.onMessage('avatar_transform', (_client, transform) => {
      this.broadcast('avatar_transform_broadcast', transform);
    });
  }
}

const server = defineServer({
  greet: false,
  transport: new WebSocketTransport({ server: createServer() }),
  rooms: { space: defineRoom(Space).filterBy(['room']) },
});

await server.listen(Number(process.env.PORT), '127.0.0.1');
