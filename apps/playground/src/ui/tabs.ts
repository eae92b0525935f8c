/** Tabs as the ARIA practices describe them: arrow keys move, one tab is in the tab order. */
import { byId } from './elements.js';

/** The tabs. */
export type Tab = 'generate' | 'distil';

const names: readonly Tab[] = ['generate', 'distil'];

/** Wires the tabs; `onChange` is called with each new one, the first included. */
export function setUpTabs(first: Tab, onChange: (tab: Tab) => void): void {
  const tabs = names.map((name) => byId<HTMLButtonElement>(`tab-${name}`));

  function select(index: number, focus: boolean): void {
    tabs.forEach((tab, i) => {
      const isSelected = i === index;
      tab.setAttribute('aria-selected', String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
      byId(`panel-${names[i]!}`).hidden = !isSelected;
      for (const element of document.querySelectorAll<HTMLElement>(`.only-${names[i]!}`)) element.hidden = !isSelected;
    });
    if (focus) tabs[index]!.focus();
    onChange(names[index]!);
  }

  tabs.forEach((tab, index) => {
    tab.addEventListener('click', () => select(index, false));
    tab.addEventListener('keydown', (event) => {
      const moves: Record<string, number> = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 };
      const to = moves[event.key];
      if (to === undefined) return;
      event.preventDefault();
      select((to + tabs.length) % tabs.length, true);
    });
  });
  select(names.indexOf(first), false);
}
