/** The tab "Generate": the generator's images beside the teacher's, drawn as they unfold. */
import type { Generated, GenerateParameters, LoadedModel } from '@dimo/pipeline/worker-client';
import type { OfferedModel } from './model-panel.js';
import { clearProblem, say, showProblem, type Session } from './session.js';
import { writeSettings, type Settings } from './settings.js';
import { byId, formatMilliseconds, make } from './ui/elements.js';
import { createTiles } from './ui/tiles.js';

/** The tab. */
export interface GenerateTab {
  /** The bundled model that comes next, for its example prompts. */
  setOffered(offered: OfferedModel | undefined): void;
  /** Draws once engine and model are ready. */
  draw(): void;
}

/** Wires the tab. */
export function setUpGenerate(session: Session, settings: Settings): GenerateTab {
  const draw = byId<HTMLButtonElement>('draw');
  const seed = byId<HTMLInputElement>('seed');
  const steps = byId<HTMLInputElement>('steps');
  const sampler = byId<HTMLSelectElement>('sampler');
  const count = byId<HTMLSelectElement>('count');
  const prompt = byId<HTMLTextAreaElement>('prompt');
  const classes = byId('classes');
  const parts = {
    generator: { tiles: createTiles(byId('generator-tiles'), 'generator'), name: 'generator' },
    teacher: { tiles: createTiles(byId('teacher-tiles'), 'teacher'), name: 'teacher' },
  } as const;
  type Part = keyof typeof parts;
  let offered: OfferedModel | undefined;
  let running: AbortController | undefined;
  let hasOffered = false;

  /** A class or prompt per image. */
  function texts(): string[] {
    const model = session.model();
    const wanted = Number(count.value);
    if (model?.classNames) {
      const chosen = [...classes.querySelectorAll<HTMLInputElement>(':checked')].map(({ value }) => value);
      const pool = chosen.length > 0 ? chosen : model.classNames.map((_, id) => String(id));
      return Array.from({ length: wanted }, (_, i) => pool[i % pool.length]!);
    }
    const lines = prompt.value.split('\n').filter((line) => line.trim() !== '');
    const pool = lines.length > 0 ? lines : [prompt.placeholder || '0'];
    return Array.from({ length: wanted }, (_, i) => pool[i % pool.length]!);
  }

  function labelOf(model: LoadedModel, text: string): string {
    return model.classNames?.[Number(text)] ?? text;
  }

  function layOut(): void {
    const model = session.model();
    const wanted = model ? texts() : Array.from({ length: Number(count.value) }, () => '');
    const shape = model
      ? { height: model.imageShape[0], width: model.imageShape[1], grid: model.grid }
      : { height: 28, width: 28, grid: [7, 7] as const };
    const labels = wanted.map((text) => (model ? labelOf(model, text) : '\u00a0'));
    for (const { tiles } of Object.values(parts)) tiles.layOut(labels, shape);
  }

  function showModel(model: LoadedModel | undefined): void {
    draw.disabled = model === undefined;
    if (model) {
      byId('classes-field').hidden = model.classNames === undefined;
      byId('prompt-field').hidden = model.classNames !== undefined;
      offerSamplers(model);
      const chosen = settings.classes;
      classes.replaceChildren(
        ...(model.classNames ?? []).slice(0, 200).map((name, id) => {
          const box = make('input', { type: 'checkbox', value: String(id), name: 'class' });
          box.checked = chosen?.includes(String(id)) ?? false;
          return make('label', {}, box, make('span', {}, name));
        }),
      );
      prompt.placeholder = offered?.examples[0] ?? (model.takesPrompts ? 'what to draw' : '0');
      prompt.value = settings.prompt ?? offered?.examples[0] ?? '';
      byId('prompt-examples').replaceChildren(
        ...(offered?.examples ?? []).map((text) => {
          const button = make('button', { type: 'button' }, text);
          button.addEventListener('click', () => (prompt.value = text));
          return button;
        }),
      );
      if (settings.count === undefined) count.value = model.classNames ? '10' : '5';
      steps.value = String(settings.steps ?? Math.min(16, model.teacher?.numSteps ?? 16));
      showSteps();
      const absent = session.served() ? '(not on this server)' : '(not in this folder)';
      byId('generator-title').textContent = model.generator ? 'Generator' : `Generator ${absent}`;
      byId('teacher-title').textContent = model.teacher ? 'Teacher' : `Teacher ${absent}`;
    }
    layOut();
    for (const part of Object.keys(parts) as Part[]) reset(part);
  }

  /** The teacher's samplers, its own first. */
  function offerSamplers({ teacher }: LoadedModel): void {
    const names = teacher?.samplers.map(({ name }) => name) ?? [];
    const wanted = (hasOffered ? sampler.value : undefined) ?? settings.sampler;
    hasOffered = true;
    sampler.replaceChildren(
      ...(teacher?.samplers ?? []).map(({ name, description }) =>
        make('option', { value: name, title: description }, name),
      ),
    );
    sampler.value = wanted !== undefined && names.includes(wanted) ? wanted : (teacher?.sampler ?? '');
    byId('sampler-field').hidden = teacher === undefined;
  }

  /** Whether the chosen sampler takes a number of steps; others take as many as they need. */
  function takesSteps(): boolean {
    const model = session.model();
    // Before there is a model: nothing moves when it comes.
    if (!model) return true;
    return model.teacher?.samplers.find(({ name }) => name === sampler.value)?.takesSteps ?? false;
  }

  function samplerAsked(): NonNullable<GenerateParameters['sampler']> {
    return { name: sampler.value, ...(takesSteps() ? { numSteps: Number(steps.value) } : {}) };
  }

  function showSteps(): void {
    byId('steps-field').hidden = !takesSteps();
    byId('steps-value').textContent = steps.value;
    byId('teacher-passes').textContent = takesSteps() ? passesOf(Number(steps.value)) : 'as many passes as it needs';
  }

  function reset(part: Part): void {
    parts[part].tiles.clear();
    byId<HTMLProgressElement>(`${part}-progress`).value = 0;
    showTime(part, '–');
  }

  function showTime(part: Part, time: string): void {
    byId(`${part}-time`).replaceChildren(make('b', {}, time), make('span', {}, 'per image'));
  }

  async function generate(part: Part, wanted: readonly string[], signal: AbortSignal): Promise<Generated> {
    const { tiles } = parts[part];
    const progress = byId<HTMLProgressElement>(`${part}-progress`);
    const generated = await session.survivingLoss(() =>
      session.generate(
        {
          model: session.model()!.id,
          network: part,
          texts: wanted,
          seed: Number(seed.value),
          ...(part === 'teacher' ? { sampler: samplerAsked(), frames: true } : {}),
        },
        {
          signal,
          onEvent: ({ step, numSteps, isDecided, pictures }) => {
            progress.value = step / numSteps;
            byId('teacher-passes').textContent = `pass ${step} of ${numSteps}`;
            if (pictures) tiles.draw(pictures, isDecided);
          },
        },
      ),
    );
    tiles.draw(generated.pictures);
    progress.value = 1;
    const { sampling, decoding } = generated.milliseconds;
    const each = (sampling + decoding) / wanted.length;
    showTime(part, formatMilliseconds(each));
    return generated;
  }

  /** `isAsked`: by the visitor, and not by the page itself. */
  async function run(isAsked: boolean): Promise<void> {
    const model = session.model();
    if (!model) return;
    running?.abort();
    const current = (running = new AbortController());
    clearProblem();
    draw.textContent = 'Stop';
    // On a phone the images are below the settings.
    if (isAsked && innerWidth < 760)
      byId('panel-generate').scrollIntoView({
        behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth',
      });
    const wanted = texts();
    writeSettings({
      seed: seed.value,
      steps: steps.value,
      sampler: sampler.value === session.model()?.teacher?.sampler ? undefined : sampler.value || undefined,
      count: count.value,
      classes:
        [...classes.querySelectorAll<HTMLInputElement>(':checked')].map(({ value }) => value).join(',') || undefined,
      prompt: model.classNames ? undefined : prompt.value,
    });
    layOut();
    for (const part of Object.keys(parts) as Part[]) reset(part);
    say('Drawing …');
    try {
      const generator = model.generator && (await generate('generator', wanted, current.signal));
      const teacher = model.teacher && (await generate('teacher', wanted, current.signal));
      say(summary(wanted.length, generator, teacher));
    } catch (error) {
      showProblem(error);
    } finally {
      if (running === current) {
        running = undefined;
        draw.textContent = 'Draw';
        showSteps();
      }
    }
  }

  byId('settings').addEventListener('submit', (event) => {
    event.preventDefault();
    if (running) running.abort();
    else void run(true);
  });
  byId('dice').addEventListener('click', () => {
    seed.value = String(crypto.getRandomValues(new Uint32Array(1))[0]! % 100_000);
    if (!running) void run(true);
  });
  steps.addEventListener('input', showSteps);
  sampler.addEventListener('change', showSteps);
  count.addEventListener('change', () => {
    layOut();
    for (const part of Object.keys(parts) as Part[]) reset(part);
  });
  seed.value = String(settings.seed);
  if (settings.count !== undefined) {
    if (![...count.options].some(({ value }) => value === String(settings.count)))
      count.append(new Option(String(settings.count)));
    count.value = String(settings.count);
  }
  if (settings.steps !== undefined) steps.value = String(settings.steps);
  session.onModel(showModel);
  showSteps();
  layOut();
  return {
    setOffered: (next) => (offered = next),
    draw: () => void run(false),
  };
}

function passesOf(count: number): string {
  return `${count} pass${count === 1 ? '' : 'es'}`;
}

/** What came out, in a sentence. */
function summary(count: number, generator: Generated | undefined, teacher: Generated | undefined): string {
  const each = ({ milliseconds: { sampling, decoding } }: Generated): number => (sampling + decoding) / count;
  const images = `${count} image${count === 1 ? '' : 's'}`;
  if (!generator || !teacher) return `Drew ${images}: ${formatMilliseconds(each((generator ?? teacher)!))} each.`;
  const compared = `${formatMilliseconds(each(generator))} an image in 1 pass, ${formatMilliseconds(each(teacher))} in ${Number(teacher.meanPasses.toFixed(1))}`;
  const factor = each(teacher) / each(generator);
  return `Drew ${images}: ${compared}. The generator was ${factor.toFixed(factor < 10 ? 1 : 0)} times as fast.`;
}
