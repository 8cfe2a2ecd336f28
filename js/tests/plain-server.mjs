// A server as somebody else would write it: rooms and broadcast over `ws`, the seven events, one a frame. It knows
// nothing of hello, seq, or subprotocols. Each room plays one run, which starts when its first client joins.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
const rooms = new Map();

server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on("connection", (socket, request) => {
  const room = rooms.get(request.url) ?? new Room();
  rooms.set(request.url, room);
  room.join(socket);
});
process.on("SIGTERM", () => process.exit(0));

class Room {
  clients = new Set();
  events = [];
  decided = undefined;

  join(socket) {
    this.clients.add(socket);
    for (const event of this.events) socket.send(JSON.stringify(event));
    socket.on("message", (text) => this.take(JSON.parse(text)));
    socket.on("close", () => this.clients.delete(socket));
    if (this.events.length === 0) void this.play();
  }

  take(message) {
    if (message.type === "human_decision" && message.node_id === "review") this.decided?.(message.decision);
  }

  broadcast(event) {
    this.events.push(event);
    for (const client of this.clients) client.send(JSON.stringify(event));
  }

  async play() {
    const add_nodes = [{ id: "fetch" }, { id: "review" }, { id: "publish" }];
    const add_edges = [
      { from: "fetch", to: "review" },
      { from: "review", to: "publish" },
    ];
    this.broadcast({ type: "dag_mutated", mutation: { add_nodes, add_edges } });
    this.broadcast({ type: "node_state", node_id: "fetch", status: "running" });
    this.broadcast({ type: "node_state", node_id: "fetch", status: "completed", output: { rows: 3 } });
    this.broadcast({ type: "edge_active", from: "fetch", to: "review" });
    this.broadcast({ type: "cost_update", spent: 0.2, budget: 1, remaining: 0.8 });
    this.broadcast({ type: "node_state", node_id: "review", status: "waiting" });
    const decision = new Promise((resolve) => {
      this.decided = resolve;
    });
    this.broadcast({ type: "human_gate_waiting", node_id: "review", presentation: { title: "Publish?" } });
    const published = (await decision) !== "reject";
    this.broadcast({ type: "node_state", node_id: "review", status: "completed" });
    this.broadcast({ type: "node_state", node_id: "publish", status: "running" });
    this.broadcast({ type: "node_state", node_id: "publish", status: "completed" });
    this.broadcast({ type: "execution_complete", results: { published } });
  }
}
