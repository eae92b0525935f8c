/** The choice of the engine, and why it is the one it is. */
import { clearProblem, showProblem, type Session } from './session.js';
import { writeSettings } from './settings.js';
import { byId } from './ui/elements.js';

/** Opens the engine that the address names, and others as they are chosen. */
export async function setUpEngines(session: Session, first: string): Promise<void> {
  const select = byId<HTMLSelectElement>('engine');
  const reason = byId('engine-reason');
  session.onEngine(({ explanation }) => (reason.textContent = sentence(explanation)));

  async function open(name: string): Promise<void> {
    select.disabled = true;
    reason.textContent = 'Opening …';
    clearProblem();
    try {
      await session.openEngine(name);
      writeSettings({ engine: name === 'auto' ? undefined : name });
    } catch (error) {
      reason.textContent = 'Not available here.';
      showProblem(error);
    } finally {
      select.disabled = false;
    }
  }

  select.addEventListener('change', () => void open(select.value));
  const isKnown = [...select.options].some(({ value }) => value === first);
  select.value = isKnown ? first : 'auto';
  await open(select.value);
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}${/[.!?]$/.test(trimmed) ? '' : '.'}`;
}
