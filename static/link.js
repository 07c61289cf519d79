/**
 * Links to join a group: https://server/#join=<offer>. An offer is the room's URI and a code, in the engine's words.
 * What stands behind the # never reaches a server. It is kept in this tab until the person has said yes or no, also
 * across the sign-in.
 */

const mark = '#join=';
const kept = 'kith-join';

/** @param {string} offer */
export const linkTo = (offer) => `${location.origin}/${mark}${encodeURIComponent(offer)}`;

/** The offer in a link, "" if it is none. What is damaged is an offer too, which the engine refuses. @param {string} text */
export function parseLink(text) {
  const at = text.indexOf(mark);
  if (at < 0) return '';
  const offer = text.slice(at + mark.length).trim();
  try {
    return decodeURIComponent(offer);
  } catch {
    return offer;
  }
}

/** Takes a link out of the address, so that it stays neither there nor in the history. */
export function keepLink() {
  if (!location.hash.startsWith(mark)) return;
  sessionStorage.setItem(kept, location.hash);
  history.replaceState(null, '', location.pathname);
}

/** The offer that waits for an answer. */
export const keptLink = () => parseLink(sessionStorage.getItem(kept) ?? '');

export const forgetLink = () => sessionStorage.removeItem(kept);

/** The server that hosts the room of an offer. @param {string} offer */
export const hostOf = (offer) => offer.match(/^mimi:\/\/([^/]+)\//)?.[1] ?? '';
