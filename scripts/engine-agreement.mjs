/**
 * How far the engines of this machine are apart on one full distillation step: the table of docs/compatibility.md.
 *
 *   node scripts/engine-agreement.mjs
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const flags = ['--conditions=@dimo/source', '--import', './tests/support/source-loader.mjs'];

if (process.execArgv.includes(flags[0])) await printTable();
else
  process.exitCode =
    spawnSync(process.execPath, [...flags, fileURLToPath(import.meta.url)], { cwd: root, stdio: 'inherit' }).status ??
    1;

async function printTable() {
  const { nodeEngines } = await import('@dimo/backend-node');
  const { fullStepDistillation, runFullStep, stepDifference } = await import('../tests/engines/full-step.ts');
  const sizes = { hidden: 64, depth: 3, grid: 7, codebookSize: 64, batchSize: 8 };
  const distillation = fullStepDistillation(sizes);
  const columns = {
    tokens: 'tokens that differ',
    logits: 'logits',
    divergenceGradient: 'divergence gradient',
    losses: 'losses (relative)',
    parameterGradients: 'parameter gradients (relative)',
    weights: 'weights after the step',
    moments: 'moments (relative)',
  };
  // The plain JavaScript engine is the reference, so it goes first.
  const factories = [...nodeEngines].sort((a, b) => Number(b.name === 'cpu') - Number(a.name === 'cpu'));
  const rows = [];
  const absent = [];
  let reference;
  for (const factory of factories) {
    const availability = await factory.probe();
    if (!availability.available) {
      absent.push(`- \`${factory.name}\`: ${availability.reason}`);
      continue;
    }
    const engine = await factory.create();
    const step = await runFullStep(engine, distillation);
    await engine.dispose();
    if (!reference) {
      reference = step;
      continue;
    }
    const difference = stepDifference(step, reference);
    const versions = Object.entries(engine.info.versions).map(([name, version]) => `${name} ${version}`);
    rows.push([
      `\`${factory.name}\``,
      `${engine.info.device}; ${versions.join(', ')}`,
      ...Object.keys(columns).map((name) => (name === 'tokens' ? difference[name] : difference[name].toExponential(1))),
    ]);
  }
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const header = ['engine', 'computes on', ...Object.values(columns)];
  console.log(`hidden ${sizes.hidden}, depth ${sizes.depth}, ${sizes.grid ** 2} tokens, batch ${sizes.batchSize}\n`);
  console.log([line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n'));
  if (absent.length > 0) console.log(`\nNot on this machine:\n${absent.join('\n')}`);
}
