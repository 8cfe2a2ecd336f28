// Where the camera looks: at the whole graph until the reader moves it, at a node that is asked for, or after what runs.

import type { Box, Camera, View } from "./camera";
import { boxOf, viewOf } from "./follow";
import { DETAILS_FROM } from "./frame";
import type { Scene } from "./scene";

const ZOOM_STEP = 1.3;
const PAN_PX = 80;
/** What runs is looked for this often at most, and flown to this slowly. */
const FOLLOW_MS = 1500;
const FOLLOW_FLIGHT_MS = 900;
/** A dot says nothing: near enough to read it. */
const NEAR = 0.8;

/** What the sight asks and tells. */
export interface SightHost {
  /** The nodes that run. */
  running(): Iterable<number>;
  /** px at the bottom of the window in which a node would be hidden. */
  covered(): number;
  /** The picture must be drawn from elsewhere. */
  moved(): void;
  /** What runs is followed, or no longer. */
  turned(): void;
}

export class Sight {
  readonly camera: Camera;
  /** Flights are jumps where no motion is wanted. */
  still = false;
  readonly #scene: Scene;
  readonly #host: SightHost;
  #fits = true;
  #following = false;
  #followedAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** A node that stays where it is on screen when what it stands for is opened, or it is folded. */
  #held: { id: string; x: number; y: number } | undefined;

  constructor(scene: Scene, camera: Camera, host: SightHost) {
    this.#scene = scene;
    this.camera = camera;
    this.#host = host;
  }

  /** Whether the camera keeps the whole graph in the window. */
  get fits(): boolean {
    return this.#fits;
  }

  /** Show the whole graph, and keep doing so. */
  fit(): void {
    this.stop();
    this.#fits = true;
    this.#fly(this.#whole);
  }

  /** From the next layout on, the whole graph is shown. */
  fitNext(): void {
    this.#fits = true;
  }

  /** The graph or its window has another size: show all of it, where that is what is shown. */
  refit(jump: boolean): void {
    if (!this.#fits) return;
    if (jump) this.camera.setState(this.#whole);
    else this.#fly(this.#whole);
  }

  /** Bring a node on screen, near enough to be read. */
  reveal(i: number): void {
    const view = this.#revealing(i);
    if (view.k < DETAILS_FROM) Object.assign(view, { x: this.#scene.x[i]!, y: this.#scene.y[i]!, k: NEAR });
    this.#show(view);
  }

  /** Bring a node on screen by the smallest move, which may be none. */
  nudge(i: number): void {
    const [view, now] = [this.#revealing(i), this.camera.getState()];
    if (view.x !== now.x || view.y !== now.y) this.#show(view);
  }

  /** Show all of these nodes; returns false where there are none. */
  frame(nodes: Iterable<number>): boolean {
    const box = boxOf(this.#scene, nodes);
    if (box) this.#show(this.camera.fitted(box, 36));
    return box !== undefined;
  }

  /** Move the camera by hand. */
  move(by: (camera: Camera) => void): void {
    by(this.camera);
    this.#let();
    this.#host.moved();
  }

  pan(dx: number, dy: number): void {
    this.move((camera) => camera.pan(dx * PAN_PX, dy * PAN_PX));
  }

  zoom(steps: 1 | -1): void {
    this.move((camera) => camera.zoomAt(camera.width / 2, camera.height / 2, ZOOM_STEP ** steps));
  }

  // --- After what runs

  get following(): boolean {
    return this.#following;
  }

  follow(): void {
    this.#following = true;
    this.#fits = false;
    this.#chase(true);
    this.#host.turned();
  }

  stop(): void {
    if (!this.#following) return;
    this.#following = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#host.turned();
  }

  /** Other nodes may run now. */
  changed(): void {
    if (!this.#following) return;
    const wait = Math.max(0, this.#followedAt + FOLLOW_MS - performance.now());
    this.#timer ??= setTimeout(() => this.#chase(), wait);
  }

  #chase(near = false): void {
    this.#timer = undefined;
    this.#followedAt = performance.now();
    const box: Box | undefined = boxOf(this.#scene, this.#host.running());
    const view = box && viewOf(this.camera, box, near);
    if (view) this.#fly(view, FOLLOW_FLIGHT_MS);
  }

  // --- While what is looked at changes its shape

  /** Keep a node where it is on screen over the next layout. */
  hold(id: string, i: number | undefined): void {
    if (i !== undefined && !this.#fits) this.#held = { id, x: this.#scene.x[i]!, y: this.#scene.y[i]! };
  }

  /** Move along with the node that is held; `find` gives where it, or what it became, is now. */
  stay(find: (id: string) => readonly [x: number, y: number] | undefined): void {
    const held = this.#held;
    this.#held = undefined;
    if (!held || this.#fits) return;
    const to = find(held.id);
    if (!to) return;
    const view = this.camera.getState();
    this.#fly({ ...view, x: view.x + to[0] - held.x, y: view.y + to[1] - held.y });
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #revealing(i: number): View {
    return this.camera.revealing(this.#scene.box(i), 12, this.#host.covered());
  }

  get #whole(): View {
    return this.camera.fitted(this.#scene.bounds);
  }

  #let(): void {
    this.#fits = false;
    this.stop();
  }

  #show(view: View): void {
    this.#let();
    this.#fly(view);
  }

  #fly(view: View, ms?: number): void {
    if (this.still) this.camera.setState(view);
    else this.camera.animate(view, performance.now(), ms);
    this.#host.moved();
  }
}
