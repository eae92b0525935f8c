/** The tab "Distil here": trains a one-step generator from the teacher, in the worker. */
import type { DistillEvent, LoadedModel } from '@dimo/pipeline/worker-client';
import { clearProblem, say, showProblem, type Session } from './session.js';
import { writeSettings, type Settings } from './settings.js';
import { createChart } from './ui/chart.js';
import { byId, formatDuration, formatMilliseconds, make } from './ui/elements.js';
import { createTiles } from './ui/tiles.js';

/** Images of each sample grid. */
const numSamples = 20;

/** Wires the tab. */
export function setUpDistil(session: Session, settings: Settings): void {
  const start = byId<HTMLButtonElement>('distil-start');
  const pause = byId<HTMLButtonElement>('distil-pause');
  const stop = byId<HTMLButtonElement>('distil-stop');
  const download = byId<HTMLButtonElement>('distil-download');
  const steps = byId<HTMLInputElement>('distil-steps');
  const batch = byId<HTMLSelectElement>('distil-batch');
  const seed = byId<HTMLInputElement>('distil-seed');
  const progress = byId<HTMLProgressElement>('distil-progress');
  const state = byId('distil-state');
  const before = createTiles(byId('before-tiles'), 'generator after step 1');
  const after = createTiles(byId('after-tiles'), 'generator');
  const lastStep = (): number => Number(steps.value);
  const curves = [
    { metric: 'generator/divergence', output: 'divergence-value', chart: chart('divergence-chart', 'Divergence') },
    { metric: 'auxiliary/loss', output: 'auxiliary-value', chart: chart('auxiliary-chart', 'Auxiliary loss') },
  ];
  let running: AbortController | undefined;
  let isPaused = false;
  /** Milliseconds per step, a running mean. */
  let rate: number | undefined;

  function chart(id: string, name: string) {
    return createChart(byId(id), name, lastStep);
  }

  function sampleTexts(model: LoadedModel): string[] {
    const names = model.classNames ?? ['0'];
    return Array.from({ length: numSamples }, (_, i) => String(i % names.length));
  }

  function layOut(model: LoadedModel | undefined): void {
    const names = model?.classNames;
    const labels = Array.from({ length: numSamples }, (_, i) => names?.[i % names.length] ?? '\u00a0');
    const [height, width] = model?.imageShape ?? [28, 28];
    for (const tiles of [before, after]) {
      tiles.layOut(labels, { width, height, grid: model?.grid ?? [7, 7] });
      tiles.clear();
    }
  }

  /** Only models whose conditions are classes: texts would need a list of prompts to train on. */
  const canDistil = (model: LoadedModel | undefined): boolean => Boolean(model?.teacher && model.classNames);

  function showButtons(): void {
    start.textContent = 'Start';
    start.disabled = running !== undefined || !canDistil(session.model());
    pause.disabled = stop.disabled = running === undefined;
    pause.textContent = isPaused ? 'Resume' : 'Pause';
    for (const input of [steps, batch, seed]) input.disabled = running !== undefined;
  }

  function show(event: DistillEvent): void {
    switch (event.kind) {
      case 'step': {
        const { step, numSteps, milliseconds, metrics } = event;
        rate = rate === undefined || step < 3 ? milliseconds : rate + (milliseconds - rate) * 0.1;
        progress.value = step / numSteps;
        state.textContent = `Step ${step} of ${numSteps}, about ${formatDuration(((numSteps - step) * rate) / 1000)} left`;
        byId('distil-rate').replaceChildren(make('b', {}, formatMilliseconds(rate)), make('span', {}, 'per step'));
        for (const { metric, output, chart: curve } of curves) {
          const value = metrics[metric];
          if (value === undefined || !Number.isFinite(value)) continue;
          curve.add(step, value);
          byId(output).textContent = curve.latest()!.toFixed(3);
        }
        return;
      }
      case 'samples':
        if (event.step === 1) before.draw(event.pictures);
        after.draw(event.pictures);
        byId('after-title').textContent = `After step ${event.step}`;
        download.disabled = false;
        return;
      case 'paused':
        state.textContent = `Paused after step ${event.step}`;
        say(`Paused after step ${event.step}.`);
        return;
      case 'resumed':
        say('Going on.');
        return;
    }
    event satisfies never;
  }

  async function run(): Promise<void> {
    const model = session.model();
    if (!model || !steps.reportValidity() || !seed.reportValidity()) return;
    const current = (running = new AbortController());
    isPaused = false;
    rate = undefined;
    clearProblem();
    showButtons();
    layOut(model);
    for (const { chart: curve, output } of curves) {
      curve.clear();
      byId(output).textContent = '';
    }
    byId('after-title').textContent = 'Now';
    download.disabled = true;
    progress.value = 0;
    state.textContent = 'Getting ready …';
    say(`Distilling ${steps.value} steps of ${batch.value} images.`);
    writeSettings({ 'distil-steps': steps.value, 'distil-batch': batch.value, 'distil-seed': seed.value });
    const numSteps = Number(steps.value);
    const parameters = {
      model: model.id,
      options: { numSteps, batchSize: Number(batch.value), seed: Number(seed.value) },
      sampleTexts: sampleTexts(model),
      sampleEvery: numSteps > 200 ? 20 : 5,
    };
    try {
      let hasSamples = false;
      const { step, done } = await session.survivingLoss((again) =>
        session.worker.distill(
          // A lost device takes the run back to its last samples.
          { ...parameters, resume: again && hasSamples },
          {
            signal: current.signal,
            onEvent(event) {
              hasSamples ||= event.kind === 'samples';
              show(event);
            },
          },
        ),
      );
      state.textContent = done ? `Done: ${step} steps` : `Stopped after step ${step}`;
      say(done ? `Distilled ${step} steps. The generator can be downloaded.` : `Stopped after step ${step}.`);
    } catch (error) {
      state.textContent = 'Stopped';
      showProblem(error);
    } finally {
      running = undefined;
      isPaused = false;
      showButtons();
    }
  }

  async function save(): Promise<void> {
    try {
      const { name, bytes } = await session.worker.downloadGenerator();
      const url = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
      make('a', { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      say(`Saved as ${name}: dimo sample --model ${name}`);
    } catch (error) {
      showProblem(error);
    }
  }

  start.addEventListener('click', () => void run());
  stop.addEventListener('click', () => running?.abort());
  pause.addEventListener('click', () => {
    isPaused = !isPaused;
    showButtons();
    if (isPaused) state.textContent = 'Pausing after this step …';
    void session.worker.pauseDistillation(isPaused);
  });
  download.addEventListener('click', () => void save());
  session.onModel((model) => {
    if (running) running.abort();
    layOut(model);
    showButtons();
    if (model && !canDistil(model))
      state.textContent = 'This model cannot be distilled here: it needs a teacher of classes';
    else state.textContent = 'Not started';
  });
  steps.value = String(settings.distilSteps);
  if (![...batch.options].some(({ value }) => Number(value) === settings.distilBatch))
    batch.append(new Option(String(settings.distilBatch)));
  batch.value = String(settings.distilBatch);
  seed.value = String(settings.distilSeed);
  layOut(undefined);
  showButtons();
}
