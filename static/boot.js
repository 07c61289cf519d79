// Runs before the first paint: the chosen theme and language, so that nothing
// flashes. Everything else is in app.js.
(() => {
  'use strict';
  const cookie = (name) => document.cookie.split('; ').find((c) => c.startsWith(name + '='))?.slice(name.length + 1);
  const theme = cookie('kith_theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  const lang = cookie('kith_lang') ?? navigator.language ?? 'en';
  // The document is written in English: other languages wait for their words.
  if (!lang.toLowerCase().startsWith('en')) document.documentElement.dataset.words = 'pending';
})();
