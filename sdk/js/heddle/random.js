// The randomness of the kind, under the names that JavaScript has for it. The engine's own was seeded when the component
// was built, so that every sandbox would draw the same numbers. While the component is built there is no host to ask.
import { bytes as draw } from "heddle:host/random@0.1.0";

const built = Math.random;
let isRunning = false;

export function running() {
  isRunning = true;
}

Math.random = () => {
  if (!isRunning) return built();
  const [high, low] = new Uint32Array(new Uint8Array(draw(8)).buffer);
  return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
};

/** So many random bytes. */
export const bytes = (count) => draw(count);

globalThis.crypto ??= {};
globalThis.crypto.getRandomValues ??= (array) => {
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(draw(array.byteLength));
  return array;
};
