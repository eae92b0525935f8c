/** The choice of the model: bundled, a folder or file of the visitor, or an address. */
import type { LoadedModel, ModelLocation } from '@dimo/backend-web/worker-client';
import { clearProblem, showProblem, type Session } from './session.js';
import { writeSettings } from './settings.js';
import { byId } from './ui/elements.js';

/** A bundled model, as `collect-models.mjs` lists it. */
export interface OfferedModel {
  readonly id: string;
  readonly title: string;
  /** Prompts to begin with. */
  readonly examples: readonly string[];
}

/** Wires the choice and loads the first model. `onOffered` is given the entry of a bundled one. */
export async function setUpModels(
  session: Session,
  first: string | undefined,
  onOffered: (offered: OfferedModel | undefined) => void,
): Promise<void> {
  const select = byId<HTMLSelectElement>('model');
  const url = byId<HTMLInputElement>('url');
  const facts = byId('model-facts');
  let loading: AbortController | undefined;

  async function load(location: ModelLocation, offered?: OfferedModel): Promise<void> {
    loading?.abort();
    const current = (loading = new AbortController());
    clearProblem();
    const before = session.model();
    session.setModel(undefined);
    facts.textContent = 'Loading …';
    try {
      if (before) await session.worker.unload(before);
      const model = await session.worker.load(location, {
        signal: current.signal,
        onEvent: ({ file, loadedBytes, totalBytes }) => {
          facts.textContent = `Loading ${file}: ${megabytes(loadedBytes)}${totalBytes ? ` of ${megabytes(totalBytes)}` : ''}`;
        },
      });
      if (current.signal.aborted) return;
      facts.textContent = describe(model);
      onOffered(offered);
      session.setModel(model);
    } catch (error) {
      if (current.signal.aborted) return;
      facts.textContent = 'No model is loaded.';
      showProblem(error);
    }
  }

  const response = await fetch('./models/models.json');
  const offers = (response.ok ? await response.json() : []) as OfferedModel[];
  select.prepend(...offers.map(({ id, title }) => new Option(title, id)));

  function choose(value: string): void {
    byId('files-field').hidden = value !== 'files';
    byId('url-field').hidden = value !== 'url';
    const offered = offers.find(({ id }) => id === value);
    if (!offered) return;
    writeSettings({ model: value === offers[0]?.id ? undefined : value });
    void load({ kind: 'url', url: new URL(`./models/${value}/`, document.baseURI).href }, offered);
  }

  select.addEventListener('change', () => choose(select.value));
  for (const id of ['pick-folder', 'pick-file']) {
    const input = byId<HTMLInputElement>(id);
    input.addEventListener('change', () => {
      const files = [...(input.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
      // The same folder can be picked again after a change in it.
      input.value = '';
      if (files.length > 0) void load({ kind: 'files', files });
    });
  }
  const loadUrl = (): void => {
    if (!URL.canParse(url.value)) return showProblem(new Error('Please type a complete address, with https://'));
    writeSettings({ model: url.value });
    void load({ kind: 'url', url: url.value });
  };
  byId('load-url').addEventListener('click', loadUrl);
  url.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    loadUrl();
  });

  const isAddress = first !== undefined && URL.canParse(first);
  const wanted = isAddress ? 'url' : offers.some(({ id }) => id === first) ? first! : (offers[0]?.id ?? 'files');
  select.value = wanted;
  choose(wanted);
  if (isAddress) {
    url.value = first;
    loadUrl();
  }
}

function describe({ teacher, generator, imageShape, grid, codebookSize }: LoadedModel): string {
  const parts = [teacher ? 'teacher' : '', generator ? 'one-step generator' : ''].filter(Boolean);
  const size = ((teacher ?? generator)!.numParameters / 1e6).toFixed(1);
  return `${parts.join(' and ')} of ${size} M parameters each, ${grid[0]} × ${grid[1]} tokens from ${codebookSize} codes, images of ${imageShape[1]} × ${imageShape[0]}`
    .replace(' each', parts.length > 1 ? ' each' : '')
    .replace(/^./, (first) => first.toUpperCase());
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
