// Calls a person to a gate, in the way that was chosen: one call for all that opens at about the same time, and never
// one right after the other.

import { visible } from "../model/visible";
import { type News, shared } from "./page_state";
import { choice } from "./preferences";

/** What opens together is told together. */
const TOGETHER_MS = 300;
const APART_MS = 10_000;

export function call(news: News): void {
  const all = shared();
  if (all.called.has(news.gate)) return;
  all.called.add(news.gate);
  all.queue.push(news);
  all.timer ??= setTimeout(ring, Math.max(TOGETHER_MS, all.rang + APART_MS - Date.now()));
}

function ring(): void {
  const all = shared();
  all.timer = undefined;
  const news = all.queue.splice(0).filter((one) => one.open());
  const [first] = news;
  const { notification, sound } = choice();
  if (!first || !(notification || sound)) return;
  all.rang = Date.now();
  if (notification) notify(first, news.length === 1 ? first.title : `${news.length} decisions needed`);
  if (sound) chime();
}

function notify({ gate, text, show }: News, title: string): void {
  try {
    // The same gate in another tab takes this one's place.
    const shown = new Notification(visible(title.slice(0, 200)), { body: visible(text.slice(0, 200)), tag: gate });
    shown.onclick = () => {
      window.focus();
      show();
      shown.close();
    };
  } catch {
    // Some browsers leave notifications to service workers.
  }
}

/** Two short tones, upwards. A page that nobody has touched yet may make none. */
export function chime(): void {
  try {
    const context = new AudioContext();
    const at = context.currentTime;
    for (const [i, pitch] of [659, 880].entries()) {
      const [tone, volume] = [context.createOscillator(), context.createGain()];
      const start = at + i * 0.14;
      tone.frequency.value = pitch;
      volume.gain.setValueAtTime(0, start);
      volume.gain.linearRampToValueAtTime(0.15, start + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.001, start + 0.3);
      tone.connect(volume).connect(context.destination);
      tone.start(start);
      tone.stop(start + 0.3);
    }
    setTimeout(() => void context.close(), 1500);
  } catch {
    // No sound here.
  }
}
