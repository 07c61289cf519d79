/** What all dialogs have in common, and those for something new: a chat, a group, a group one has a link to. */
import { byId, setFault, setText } from './dom.js';
import { sentence, t } from './i18n.js';
import { forgetLink, hostOf, keptLink, parseLink } from './link.js';
import { PeopleInput } from './people.js';

/** @typedef {import('./channel.js').Engine} Engine */

/** Wires what every dialog has: its close buttons, and a click beside it. @param {HTMLDialogElement} dialog */
export function closable(dialog) {
  for (const button of dialog.querySelectorAll('[data-close]')) button.addEventListener('click', () => dialog.close());
  dialog.addEventListener('pointerdown', (e) => {
    if (e.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside = e.clientX >= box.left && e.clientX <= box.right && e.clientY >= box.top && e.clientY <= box.bottom;
    if (!inside && dialog.ariaBusy !== 'true') dialog.close();
  });
  dialog.addEventListener('cancel', (e) => {
    if (dialog.ariaBusy === 'true') e.preventDefault();
  });
}

/** Runs an action of a form: one at a time, with its fault shown in the dialog. */
export async function attempt(dialog, button, action) {
  const fault = dialog.querySelector('.fault');
  setFault(fault, '');
  button.disabled = true;
  dialog.setAttribute('aria-busy', 'true');
  try {
    return await action();
  } catch (e) {
    setFault(fault, sentence(e));
    fault.scrollIntoView({ block: 'nearest' }); // on a phone the keyboard leaves little of a dialog
    return undefined;
  } finally {
    button.disabled = false;
    dialog.removeAttribute('aria-busy');
  }
}

/** The id of a room in an answer. */
const roomOf = (answer) => (typeof answer === 'string' ? answer : (answer?.id ?? answer?.room ?? ''));

/** Asks before something that cannot be taken back. @returns {Promise<boolean>} */
export function confirm(title, body, action) {
  const dialog = byId('dialog-confirm');
  setText(byId('confirm-title'), title);
  setText(byId('confirm-body'), body);
  setText(byId('confirm-yes'), action);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}

/** @param {Engine} engine @param {() => void} hold @param {(id?: string) => void} release */
export function newChat(engine, hold, release) {
  const dialog = byId('dialog-new-chat');
  const who = new PeopleInput(dialog.querySelector('.people'), engine, false);
  closable(dialog);
  byId('new-chat').addEventListener('click', () => {
    setFault(dialog.querySelector('.fault'), '');
    who.reset();
    dialog.showModal();
    who.focus();
  });
  dialog.querySelector('form').addEventListener('submit', async (e) => {
    e.preventDefault();
    hold();
    const answer = await attempt(dialog, dialog.querySelector('[data-testid=new-chat-start]'), async () => {
      const offer = parseLink(who.text);
      if (offer) return engine.call('join', { offer });
      const [to] = await who.values();
      if (!to) throw { code: 'empty' };
      return engine.call('newChat', { address: to });
    });
    if (answer !== undefined) dialog.close();
    release(answer?.waiting ? '' : roomOf(answer)); // who was asked first is in the list of those
  });
}

/** @param {Engine} engine @param {() => void} hold @param {(id?: string) => void} release */
export function newGroup(engine, hold, release) {
  const dialog = byId('dialog-new-group');
  const name = byId('new-group-name');
  const members = new PeopleInput(dialog.querySelector('.people'), engine, true);
  const kinds = dialog.querySelector('.kinds');
  const form = dialog.querySelector('form');
  const showKind = () => setText(byId('new-group-kind'), t(`chat.kind_${form.elements.kind.value}`));
  closable(dialog);
  kinds.addEventListener('change', showKind);
  byId('new-group').addEventListener('click', () => {
    setFault(dialog.querySelector('.fault'), '');
    name.value = '';
    form.elements.kind.value = 'family';
    kinds.open = false;
    showKind();
    members.reset();
    dialog.showModal();
    name.focus();
  });
  form.addEventListener('submit', async (e) => {
    e.preventDefault();
    hold();
    const answer = await attempt(dialog, dialog.querySelector('[data-testid=new-group-create]'), async () => {
      if (!name.value.trim()) throw { code: 'empty' };
      return engine.call('newGroup', { name: name.value.trim(), members: await members.values(), kind: form.elements.kind.value });
    });
    if (answer !== undefined) dialog.close();
    release(roomOf(answer));
  });
}

/**
 * Asks whether to join the group of a link that was opened. The answer is a function that asks if there is a reason to.
 * @param {Engine} engine @param {() => void} hold @param {(id?: string) => void} release
 */
export function joinByLink(engine, hold, release) {
  const dialog = byId('dialog-join');
  let asked = '';
  closable(dialog);
  dialog.addEventListener('close', () => {
    forgetLink();
    asked = '';
  });
  dialog.querySelector('form').addEventListener('submit', async (e) => {
    e.preventDefault();
    hold();
    const answer = await attempt(dialog, dialog.querySelector('[type=submit]'), () => engine.call('join', { offer: keptLink() }));
    if (answer !== undefined) dialog.close();
    release(roomOf(answer));
  });
  return () => {
    const offer = keptLink();
    if (!offer || offer === asked) return;
    asked = offer;
    setFault(dialog.querySelector('.fault'), '');
    const host = hostOf(offer);
    dialog.querySelector('[type=submit]').hidden = !host;
    setText(byId('join-body'), host ? t('chat.join_body', { host }) : t('error.link_gone'));
    dialog.showModal();
  };
}
