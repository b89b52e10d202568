// A Socket.IO node: who connects is in the room that it names, and what it says goes to all of the room.
// Several of these share one Redis through the streams adapter.
// Environment: PORT, REDIS_URL.

import { createServer } from 'node:http';

import { createAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const redis = createClient({ url: process.env.REDIS_URL });
await redis.connect();

const server = createServer();
const io = new Server(server, { adapter: createAdapter(redis), transports: ['websocket'], serveClient: false });

io.on('connection', (socket) => {
  const { room } = socket.handshake.auth;
  socket.join(room);
  socket.on('avatar_transform', (transform) => {
    io.to(room).emit('avatar_transform_broadcast', transform);
  });
});

server.listen(Number(process.env.PORT), '127.0.0.1');
