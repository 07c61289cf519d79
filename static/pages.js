// The little that the server's own pages do beyond HTML: copying a link, and
// knowing that somebody came with one.
(() => {
  'use strict';
  const hint = document.getElementById('join-hint');
  if (hint) hint.hidden = !sessionStorage.getItem('kith-join');
  for (const button of document.querySelectorAll('button[data-copy]')) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    button.hidden = false;
    source.addEventListener('focus', () => source.select());
    button.addEventListener('click', async () => {
      source.focus();
      source.select();
      try {
        await navigator.clipboard.writeText(source.value);
      } catch {
        return; // it is selected: the person can copy it by hand
      }
      button.textContent = button.dataset.copied;
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  }
})();
