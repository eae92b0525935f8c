/** The choice of the model: bundled, a folder or file of the visitor, or an address. */
import type { LoadedModel, ModelLocation } from '@dimo/pipeline/worker-client';
import { listServedModels, TokenNeeded, type ServedModel } from './served-models.js';
import { clearProblem, showProblem, type Session } from './session.js';
import { writeSettings } from './settings.js';
import { byId, make } from './ui/elements.js';

/** Marks models of the server among the values of the choice. */
const servedPrefix = 'server:';

function servedValue(name: string): string {
  return servedPrefix + name;
}

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
    const before = session.served() ? undefined : session.model();
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

  /** The models of the server that the page comes from, if that is a `dimo serve`. */
  let served: readonly ServedModel[] = [];
  const list = response.headers.get('dimo-models');
  const token = byId<HTMLInputElement>('token');
  async function offerServed(): Promise<void> {
    if (list === null) return;
    served = await listServedModels(list, token.value.trim() || undefined);
    const group = make('optgroup', { label: 'On this server' });
    group.append(...served.map(({ name }) => new Option(name, servedValue(name))));
    select.prepend(group);
    byId('token-field').hidden = true;
  }
  const useServed = async (chosen: ServedModel): Promise<void> => {
    const { name, model } = chosen;
    loading?.abort();
    clearProblem();
    const before = session.served() ? undefined : session.model();
    session.setModel(undefined);
    if (before) await session.worker.unload(before);
    const [height, width] = model.imageShape;
    facts.textContent = `The ${model.generator ? 'one-step generator' : 'teacher'} ${name}, images of ${width} × ${height}; it stays on the server, which draws`;
    onOffered(undefined);
    session.setModel(model, chosen);
  };
  await offerServed().catch((error: unknown) => {
    if (!(error instanceof TokenNeeded)) return showProblem(error);
    byId('token-field').hidden = false;
  });
  byId('use-token').addEventListener('click', () => {
    clearProblem();
    offerServed().then(() => {
      select.value = servedValue(served[0]?.name ?? '');
      choose(select.value);
    }, showProblem);
  });

  /** What was asked to be served comes first, unless the page has it too: that draws its teacher beside it. */
  const own = served.find(({ name }) => offers.every(({ id }) => id !== name));
  const initial = own ? servedValue(own.name) : (offers[0]?.id ?? 'files');

  function choose(value: string): void {
    byId('files-field').hidden = value !== 'files';
    byId('url-field').hidden = value !== 'url';
    const onServer = served.find(({ name }) => servedValue(name) === value);
    if (onServer) {
      writeSettings({ model: value });
      return void useServed(onServer).catch(showProblem);
    }
    const offered = offers.find(({ id }) => id === value);
    if (!offered) return;
    writeSettings({ model: value === initial ? undefined : value });
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

  const isAddress = first !== undefined && !first.startsWith(servedPrefix) && URL.canParse(first);
  const values = [...offers.map(({ id }) => id), ...served.map(({ name }) => servedValue(name))];
  const wanted = isAddress ? 'url' : first !== undefined && values.includes(first) ? first : initial;
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
