// Text as bytes and back, in UTF-8: the engine has neither `TextEncoder` nor `TextDecoder`. What is not well formed
// becomes U+FFFD, as it does there.

export function encode(text) {
  const out = [];
  for (const character of String(text)) {
    let code = character.codePointAt(0);
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) out.push(code);
    else if (code < 0x800) out.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
    else if (code < 0x10000) out.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    else {
      out.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    }
  }
  return new Uint8Array(out);
}

// For a first byte: how many follow, and the bounds of the next one, which keep out what has a shorter form, halves of
// pairs, and what is past the last character.
function following(first) {
  if (first >= 0xc2 && first <= 0xdf) return [1, 0x80, 0xbf];
  if (first === 0xe0) return [2, 0xa0, 0xbf];
  if (first === 0xed) return [2, 0x80, 0x9f];
  if (first >= 0xe1 && first <= 0xef) return [2, 0x80, 0xbf];
  if (first === 0xf0) return [3, 0x90, 0xbf];
  if (first >= 0xf1 && first <= 0xf3) return [3, 0x80, 0xbf];
  if (first === 0xf4) return [3, 0x80, 0x8f];
  return [0, 0, 0];
}

export function decode(bytes) {
  const parts = [];
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at++];
    if (first < 0x80) {
      parts.push(String.fromCharCode(first));
      continue;
    }
    let [count, least, most] = following(first);
    let code = count === 0 ? 0xfffd : first & (0x3f >> count);
    for (; count > 0; count--) {
      if (at >= bytes.length || bytes[at] < least || bytes[at] > most) {
        code = 0xfffd;
        break;
      }
      code = (code << 6) | (bytes[at++] & 0x3f);
      [least, most] = [0x80, 0xbf];
    }
    parts.push(String.fromCodePoint(code));
  }
  return parts.join("");
}

const asBytes = (given) =>
  given instanceof Uint8Array ? given : new Uint8Array(given.buffer ?? given, given.byteOffset ?? 0, given.byteLength);

globalThis.TextEncoder ??= class TextEncoder {
  encoding = "utf-8";
  encode(text = "") {
    return encode(text);
  }
};
globalThis.TextDecoder ??= class TextDecoder {
  encoding = "utf-8";
  decode(bytes) {
    return bytes === undefined ? "" : decode(asBytes(bytes));
  }
};
