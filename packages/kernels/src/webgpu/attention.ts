/** Multi-head attention with online softmax, and its gradient, which recomputes the probabilities. */
import {
  attentionLayout,
  attentionSizes,
  attentionUniforms,
  ownPosition,
  perVector,
  scalarProduct,
  vectors,
  walk,
  walkDeclarations,
  type AttentionLayout,
  type AttentionParameters,
  type Walk,
} from './attention-program.js';
import type { Kernel } from './kernel.js';
import { programs, runProgram } from './program.js';

/**
 * [y, logSumExp]: y as `query`; logSumExp [batch, heads, S] of the scaled scores, which is all that the gradient needs
 * besides the inputs.
 */
export const attention: Kernel<'DimoAttentionForward'> = (backend, tuning, { query, key, value }, attributes) => {
  const { batch, numQueries, numKeys, width } = attentionSizes(query, key);
  const { numHeads, scale, causal } = attributes;
  const parameters = { lanesPerRow: tuning.lanesPerRow, headWidth: width / numHeads, causal };
  const { workgroupSize } = attentionLayout(parameters);
  return runProgram(backend, forwardProgram(parameters), {
    inputs: [query, key, value],
    outputs: [{ shape: query.shape }, { shape: [batch, numHeads, numQueries] }],
    uniforms: { numQueries, numKeys, numHeads, scale },
    numGroups: batch * numHeads * Math.ceil(numQueries / workgroupSize),
  });
};

/** y alone. */
export const attentionValue: Kernel<'DimoAttention'> = (backend, tuning, inputs, attributes) => {
  const [y, logSumExp] = attention(backend, tuning, inputs, attributes);
  backend.disposeData(logSumExp.dataId);
  return [y];
};

/** WGSL conditions that position `other<j>` exists and, in causal attention, is not later than its query. */
const allowedKey = (causal: boolean) => (j: number) => `isReal${j}${causal ? ` && other${j} <= position` : ''}`;
const allowedQuery = (causal: boolean) => (j: number) => `isReal${j}${causal ? ` && position <= other${j}` : ''}`;

/** The walk of a query's lane over keys and values. */
function overKeys(layout: AttentionLayout, causal: boolean, body: Walk['body']): string {
  return walk(layout, {
    buffers: ['key', 'value'],
    count: 'uniforms.numKeys',
    from: '0u',
    to: causal ? 'min(uniforms.numKeys, (block + 1u) * workgroupSize)' : 'uniforms.numKeys',
    body,
  });
}

const forwardProgram = programs((parameters: AttentionParameters) => {
  const { causal } = parameters;
  const layout = attentionLayout(parameters);
  const each = layout.together;
  const allowed = allowedKey(causal);
  return {
    name: 'DimoAttention',
    workgroupSize: layout.workgroupSize,
    outputs: [...vectors(layout, 'y'), { name: 'logSumExp', type: 'f32' }],
    inputs: vectors(layout, 'query', 'key', 'value'),
    uniforms: attentionUniforms,
    code: () => `
${walkDeclarations(layout)}
fn run(group: u32, lane: u32) {
  ${ownPosition(layout, 'uniforms.numQueries')}
  ${perVector(layout, (i) => `let q${i} = query[own + ${i}u] * uniforms.scale; var sum${i} = ${layout.type}(0.0);`)}
  var largest = -3.4e38;
  var total = 0.0;
  ${overKeys(
    layout,
    causal,
    (at) => `
    ${each.map((j) => `let score${j} = select(-3.4e38, ${scalarProduct(layout, (i) => `q${i}`, at(0, j))}, ${allowed(j)});`).join('\n    ')}
    let newLargest = ${each.reduce((inner, j) => `max(${inner}, score${j})`, 'largest')};
    let keep = exp(largest - newLargest);
    largest = newLargest;
    ${each.map((j) => `let p${j} = select(0.0, exp(score${j} - largest), ${allowed(j)});`).join(' ')}
    total = total * keep + (${each.map((j) => `p${j}`).join(' + ')});
    ${perVector(layout, (i) => `sum${i} = sum${i} * keep + (${each.map((j) => `p${j} * ${at(1, j)(i)}`).join(' + ')});`)}`,
  )}
  if (!exists) { return; }
  ${perVector(layout, (i) => `y[own + ${i}u] = sum${i} / total;`)}
  logSumExp[statistic] = largest + log(total);
}`,
  };
});

/** [dquery, dkey, dvalue]: with p the probabilities and D = sum(dy y): ds = p (dy v^T - D), dv = p^T dy. */
export const attentionGrad: Kernel<'DimoAttentionGrad'> = (backend, tuning, inputs, attributes) => {
  const { query, key, value, output, logSumExp, dy } = inputs;
  const { batch, numQueries, numKeys, width } = attentionSizes(query, key);
  const { numHeads, scale, causal } = attributes;
  const parameters = { lanesPerRow: tuning.lanesPerRow, headWidth: width / numHeads, causal };
  const { workgroupSize } = attentionLayout(parameters);
  const uniforms = { numQueries, numKeys, numHeads, scale };
  const groups = (count: number) => batch * numHeads * Math.ceil(count / workgroupSize);
  const [dquery, projection] = runProgram(backend, queryGradientProgram(parameters), {
    inputs: [query, key, value, output, dy, logSumExp],
    outputs: [{ shape: query.shape }, { shape: [batch, numHeads, numQueries] }],
    uniforms,
    numGroups: groups(numQueries),
  });
  const [dkey, dvalue] = runProgram(backend, keyGradientProgram(parameters), {
    inputs: [query, key, value, dy, logSumExp, projection],
    outputs: [{ shape: key.shape }, { shape: value.shape }],
    uniforms,
    numGroups: groups(numKeys),
  });
  backend.disposeData(projection.dataId);
  return [dquery, dkey, dvalue];
};

const queryGradientProgram = programs((parameters: AttentionParameters) => {
  const { causal } = parameters;
  const layout = attentionLayout(parameters);
  const each = layout.together;
  const allowed = allowedKey(causal);
  return {
    name: 'DimoAttentionQueryGrad',
    workgroupSize: layout.workgroupSize,
    outputs: [...vectors(layout, 'dquery'), { name: 'projection', type: 'f32' }],
    inputs: [...vectors(layout, 'query', 'key', 'value', 'output', 'dy'), { name: 'logSumExp', type: 'f32' }],
    uniforms: attentionUniforms,
    code: () => `
${walkDeclarations(layout)}
fn run(group: u32, lane: u32) {
  ${ownPosition(layout, 'uniforms.numQueries')}
  ${perVector(layout, (i) => `let q${i} = query[own + ${i}u] * uniforms.scale; let dy${i} = dy[own + ${i}u]; var dq${i} = ${layout.type}(0.0);`)}
  let along = ${scalarProduct(
    layout,
    (i) => `dy${i}`,
    (i) => `output[own + ${i}u]`,
  )};
  let normalizer = logSumExp[statistic];
  ${overKeys(
    layout,
    causal,
    (at) => `
    ${each.map((j) => `let p${j} = select(0.0, exp(${scalarProduct(layout, (i) => `q${i}`, at(0, j))} - normalizer), ${allowed(j)});`).join('\n    ')}
    ${each.map((j) => `let ds${j} = p${j} * (${scalarProduct(layout, (i) => `dy${i}`, at(1, j))} - along);`).join('\n    ')}
    ${perVector(layout, (i) => `dq${i} += ${each.map((j) => `ds${j} * ${at(0, j)(i)}`).join(' + ')};`)}`,
  )}
  if (!exists) { return; }
  ${perVector(layout, (i) => `dquery[own + ${i}u] = dq${i} * uniforms.scale;`)}
  projection[statistic] = along;
}`,
  };
});

const keyGradientProgram = programs((parameters: AttentionParameters) => {
  const { causal } = parameters;
  const layout = attentionLayout(parameters);
  const each = layout.together;
  const allowed = allowedQuery(causal);
  const queryRow = (j: number) => `statistics + min(other${j}, uniforms.numQueries - 1u)`;
  return {
    name: 'DimoAttentionKeyGrad',
    workgroupSize: layout.workgroupSize,
    outputs: vectors(layout, 'dkey', 'dvalue'),
    inputs: [
      ...vectors(layout, 'query', 'key', 'value', 'dy'),
      { name: 'logSumExp', type: 'f32' },
      { name: 'projection', type: 'f32' },
    ],
    uniforms: attentionUniforms,
    code: () => `
${walkDeclarations(layout)}
fn run(group: u32, lane: u32) {
  ${ownPosition(layout, 'uniforms.numKeys')}
  ${perVector(
    layout,
    (i) => `let k${i} = key[own + ${i}u] * uniforms.scale; let v${i} = value[own + ${i}u];
  var dk${i} = ${layout.type}(0.0); var dv${i} = ${layout.type}(0.0);`,
  )}
  let statistics = (batch * uniforms.numHeads + head) * uniforms.numQueries;
  ${walk(layout, {
    buffers: ['query', 'dy'],
    count: 'uniforms.numQueries',
    from: causal ? 'block * workgroupSize' : '0u',
    to: 'uniforms.numQueries',
    body: (at) => `
    ${each.map((j) => `let p${j} = select(0.0, exp(${scalarProduct(layout, (i) => `k${i}`, at(0, j))} - logSumExp[${queryRow(j)}]), ${allowed(j)});`).join('\n    ')}
    ${each.map((j) => `let ds${j} = p${j} * (${scalarProduct(layout, (i) => `v${i}`, at(1, j))} - projection[${queryRow(j)}]);`).join('\n    ')}
    ${perVector(layout, (i) => `dk${i} += ${each.map((j) => `ds${j} * ${at(0, j)(i)}`).join(' + ')}; dv${i} += ${each.map((j) => `p${j} * ${at(1, j)(i)}`).join(' + ')};`)}`,
  })}
  if (!exists) { return; }
  ${perVector(layout, (i) => `dkey[own + ${i}u] = dk${i} * uniforms.scale; dvalue[own + ${i}u] = dv${i};`)}
}`,
  };
});
