/** Small helpers around the document. Text goes in as textContent, always. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** A copy of the one element in a <template>. @param {string} id @returns {any} */
export const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** Sets text only where it changed, so that nothing is announced or repainted for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const words = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** The first sign of a word: a letter with its marks, or an emoji of several code points. */
const firstSign = (word) => words.segment(word)[Symbol.iterator]().next().value?.segment ?? '';

/** @param {string} name */
function initials(name) {
  const parts = name.trim().split(/\s+/).filter((w) => /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(w));
  if (parts.length === 0) return firstSign(name.trim()) || '·';
  const first = firstSign(parts[0]);
  const last = parts.slice(1).reverse().find((w) => /^\p{L}/u.test(w));
  // Two letters side by side mean something only where letters have case.
  return (last && /^[\p{Lu}\p{Ll}]/u.test(first) ? first + firstSign(last) : first).toLocaleUpperCase();
}

/** One of eight tints, the same for a name every time. @param {string} id */
function tint(id) {
  let h = 0;
  for (const c of id) h = (h * 31 + c.codePointAt(0)) >>> 0;
  return h % 8;
}

/** @param {HTMLElement} element @param {string} id what the tint goes by @param {string} name @param {boolean} [group] */
export function paintAvatar(element, id, name, group = false) {
  setText(element, initials(name));
  element.dataset.tint = String(tint(id));
  element.classList.toggle('avatar-group', group);
}

/** Shows a sentence about a fault, or takes it away. @param {HTMLElement} element @param {string} text */
export function setFault(element, text) {
  element.hidden = !text;
  setText(element, text);
}

const link = /https?:\/\/[^\s<>"']+[^\s<>"'.,:;!?)\]}]/g;

/**
 * Puts text into an element, with web addresses as links. Nothing is parsed
 * as markup: text nodes and anchors with checked addresses are all there is.
 * @param {HTMLElement} element @param {string} text
 */
export function setLinkedText(element, text) {
  element.replaceChildren();
  let end = 0;
  for (const match of text.matchAll(link)) {
    if (!URL.canParse(match[0])) continue;
    const a = document.createElement('a');
    a.href = match[0];
    a.target = '_blank';
    a.rel = 'noopener noreferrer';
    a.textContent = match[0];
    element.append(text.slice(end, match.index), a);
    end = match.index + match[0].length;
  }
  element.append(text.slice(end));
}

/** Whether a text is nothing but up to three emoji. @param {string} text */
export function isBigEmoji(text) {
  if (text.length > 40 || !/^[\p{Extended_Pictographic}\p{Emoji_Component}\s]+$/u.test(text) || !/\p{Extended_Pictographic}/u.test(text)) return false;
  return [...words.segment(text.replace(/\s/g, ''))].length <= 3;
}

/** Calls f once things have been quiet for a while. @param {Function} f @param {number} ms */
export function debounce(f, ms) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(f, ms, ...args);
  };
}
