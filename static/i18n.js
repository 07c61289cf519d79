/** Words, numbers and dates in the reader's language. The catalogue is made by the build from web/catalogue_*.go. */
import catalogue from './catalogue.js';

const year = 365 * 24 * 3600;

/** @param {string} name */
function cookie(name) {
  return document.cookie.split('; ').find((c) => c.startsWith(name + '='))?.slice(name.length + 1) ?? '';
}

/** @param {string} name @param {string} value "" deletes it */
export function setCookie(name, value) {
  const secure = location.protocol === 'https:' ? '; secure' : '';
  document.cookie = `${name}=${value}; path=/; samesite=lax; max-age=${value ? year : 0}${secure}`;
}

/** The language in use: chosen, or the first of the browser's that we have. */
export let lang = pick();

function pick() {
  const wanted = [cookie('kith_lang'), ...(navigator.languages ?? []), 'en'];
  return wanted.map((l) => l.toLowerCase().split('-')[0]).find((l) => l in catalogue) ?? 'en';
}

/** @param {string} key @param {Record<string, string|number>} [args] */
export function t(key, args = {}) {
  const text = catalogue[lang][key] ?? catalogue.en[key] ?? key;
  return text.replace(/\{([a-z]+)\}/g, (whole, name) => (name in args ? String(args[name]) : whole));
}

/** Picks key.one or key.other. @param {string} key @param {number} n */
export function count(key, n) {
  const form = new Intl.PluralRules(lang).select(n);
  const full = `${key}.${form}` in catalogue.en ? `${key}.${form}` : `${key}.other`;
  return t(full, { n: number(n) });
}

/** @param {number} n */
export const number = (n) => formatter(Intl.NumberFormat, {}).format(n);

/** The sentence for an error of the engine. @param {{code?: string}|undefined} error */
export function sentence(error) {
  const key = `error.${error?.code ?? 'internal'}`;
  return key in catalogue.en ? t(key) : t('error.internal');
}

/** @param {string} key */
export const known = (key) => key in catalogue.en;

const formatters = new Map();

/** The browser's own variant of the language, if it has one: en-GB has other dates than en-US. */
const locale = () => navigator.languages?.find((l) => l.toLowerCase().split('-')[0] === lang) ?? lang;

function formatter(Kind, options) {
  const name = Kind.name + lang + JSON.stringify(options);
  if (!formatters.has(name)) formatters.set(name, new Kind(locale(), options));
  return formatters.get(name);
}

const dayOf = (ms) => new Date(ms).setHours(0, 0, 0, 0);

/** @param {number} a @param {number} b */
export const sameDay = (a, b) => dayOf(a) === dayOf(b);

/** @param {number} ms */
export const clock = (ms) => formatter(Intl.DateTimeFormat, { hour: 'numeric', minute: '2-digit' }).format(ms);

/** A day as people say it. @param {number} ms */
export function day(ms) {
  const ago = Math.round((dayOf(Date.now()) - dayOf(ms)) / 86_400_000);
  if (ago === 0) return t('chat.today');
  if (ago === 1) return t('chat.yesterday');
  if (ago > 1 && ago < 7) return formatter(Intl.DateTimeFormat, { weekday: 'long' }).format(ms);
  const sameYear = new Date(ms).getFullYear() === new Date().getFullYear();
  return formatter(Intl.DateTimeFormat, { day: 'numeric', month: 'long', ...(sameYear ? {} : { year: 'numeric' }) }).format(ms);
}

/** Day or time, whichever says more in little room. @param {number} ms */
export function short(ms) {
  if (sameDay(ms, Date.now())) return clock(ms);
  const ago = Math.round((dayOf(Date.now()) - dayOf(ms)) / 86_400_000);
  if (ago === 1) return t('chat.yesterday');
  if (ago > 1 && ago < 7) return formatter(Intl.DateTimeFormat, { weekday: 'short' }).format(ms);
  return formatter(Intl.DateTimeFormat, { day: '2-digit', month: '2-digit', year: '2-digit' }).format(ms);
}

/** @param {number} ms */
export const full = (ms) => formatter(Intl.DateTimeFormat, { dateStyle: 'full', timeStyle: 'short' }).format(ms);

/** Puts the words into everything that is marked. @param {ParentNode} root */
export function translate(root) {
  for (const e of root.querySelectorAll('[data-i18n]')) e.textContent = t(e.dataset.i18n);
  for (const e of root.querySelectorAll('[data-i18n-label]')) {
    e.setAttribute('aria-label', t(e.dataset.i18nLabel));
    if (e.title) e.title = t(e.dataset.i18nLabel);
  }
  for (const e of root.querySelectorAll('[data-i18n-placeholder]')) {
    e.placeholder = t(e.dataset.i18nPlaceholder);
    e.setAttribute('aria-label', e.placeholder);
  }
  for (const e of root.querySelectorAll('template')) translate(e.content);
}

/** Turns the page to a language, and remembers it if it was chosen. @param {string} [choice] */
export function setLanguage(choice) {
  if (choice) {
    setCookie('kith_lang', choice);
    lang = pick();
  }
  document.documentElement.lang = lang;
  document.documentElement.dir = ['ar', 'fa', 'he', 'ur'].includes(lang) ? 'rtl' : 'ltr';
  if (lang !== 'en' || choice) translate(document);
  delete document.documentElement.dataset.words;
}

/** The theme: "", "light" or "dark". */
export const theme = () => document.documentElement.dataset.theme ?? '';

/** @param {string} choice */
export function setTheme(choice) {
  setCookie('kith_theme', choice);
  if (choice) document.documentElement.dataset.theme = choice;
  else delete document.documentElement.dataset.theme;
}
