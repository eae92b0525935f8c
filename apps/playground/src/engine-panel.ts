/** The choice of the engine, and why it is the one it is. */
import type { EngineChoice } from '@dimo/backend-web/worker-client';
import { clearProblem, showProblem, type Session } from './session.js';
import { writeSettings } from './settings.js';
import { byId } from './ui/elements.js';

/** Opens the engine that the address names, and lists the others as they are known. */
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
      reason.textContent = 'Not available.';
      showProblem(error);
    } finally {
      select.disabled = false;
    }
  }

  function offer({ name, availability }: EngineChoice): void {
    const option = [...select.options].find(({ value }) => value === name) ?? new Option(name, name);
    option.disabled = !availability.available && option.value !== select.value;
    option.text = availability.available ? name : `${name}: not here`;
    option.title = availability.available ? availability.info.device : `${availability.reason}. ${availability.fix}`;
    if (!option.isConnected) select.append(option);
  }

  select.addEventListener('change', () => void open(select.value));
  if (first !== 'auto') {
    select.append(new Option(first, first));
    select.value = first;
  }
  await open(first);
  await session.worker.engines({ onEvent: offer }).catch(showProblem);
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}${/[.!?]$/.test(trimmed) ? '' : '.'}`;
}
