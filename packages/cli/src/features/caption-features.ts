/** Captions as features: a text network that shares the space of the image network, as those of CLIP do. */
import { folderWeightSource, openOnnxModel, type OnnxModel, type OnnxTensor } from '@dimo/backend-node';
import { OptionError, ShapeError } from '@dimo/core';
import type { NetworkFeatures } from '@dimo/eval';
import { readClipTokenizer } from '@dimo/teacher-meissonic';
import { dirname } from 'node:path';

/** A text network that is ready. */
export interface CaptionNetwork {
  /** Features [texts, D] of some texts. */
  features(texts: readonly string[]): Promise<NetworkFeatures['features']>;
  dispose(): Promise<void>;
}

/** Inputs as CLIP's text networks are exported, and the output with the projected features. */
const [idsName, maskName, outputName] = ['input_ids', 'attention_mask', 'text_embeds'];
/** Texts that go through the network at once. */
const batchSize = 32;

/**
 * Opens CLIP's text network; its tokenizer (`vocab.json` and `merges.txt`, or `tokenizer.json`) lies beside it.
 *
 * @throws OptionError if the network has other inputs and outputs, or there is no tokenizer.
 */
export async function openCaptionNetwork(path: string, threads: number | undefined): Promise<CaptionNetwork> {
  const tokenizer = await readClipTokenizer(folderWeightSource(dirname(path)), '');
  const model: OnnxModel = await openOnnxModel(path, threads === undefined ? {} : { threads });
  const named = (ports: OnnxModel['inputs']) => ports.map(({ name, type }) => `"${name}" (${type})`).join(', ');
  const inputs = new Map(model.inputs.map(({ name, type }) => [name, type]));
  const output = model.outputs.length === 1 ? model.outputs[0]!.name : outputName;
  const isKnown = [...inputs].every(
    ([name, type]) => (name === idsName || name === maskName) && (type === 'int64' || type === 'int32'),
  );
  if (!inputs.has(idsName) || !isKnown || !model.outputs.some(({ name }) => name === output)) {
    await model.dispose();
    throw new OptionError(
      `--text: the network must take "${idsName}" and may take "${maskName}", integers, and give "${outputName}"; it takes ${named(model.inputs)} and gives ${named(model.outputs)}`,
      { path },
    );
  }
  return {
    async features(texts) {
      let data = new Float32Array();
      let columns = 0;
      for (let first = 0; first < texts.length; first += batchSize) {
        const some = texts.slice(first, first + batchSize);
        const { shape, data: ids } = tokenizer.encode(some);
        const feeds: Record<string, OnnxTensor> = {};
        for (const [name, type] of inputs) {
          const values = name === idsName ? ids : maskOf(ids, shape[1]!, tokenizer);
          feeds[name] = { type, shape, data: type === 'int64' ? BigInt64Array.from(values, BigInt) : values };
        }
        const tensor = (await model.run(feeds, [output]))[output]!;
        if (!(tensor.data instanceof Float32Array) || tensor.shape.length !== 2 || tensor.shape[0] !== some.length)
          throw new ShapeError(
            `--text: "${output}" must be float32 [${some.length}, D], got ${tensor.type} [${tensor.shape.join(', ')}]`,
          );
        columns = tensor.shape[1]!;
        if (first === 0) data = new Float32Array(texts.length * columns);
        data.set(tensor.data, first * columns);
      }
      return { rows: texts.length, columns, data };
    },
    dispose: () => model.dispose(),
  };
}

/** 1 up to the first end of each text, 0 for what fills it up. */
function maskOf(ids: Int32Array, length: number, { endTokenId }: { readonly endTokenId: number }): Int32Array {
  const mask = new Int32Array(ids.length);
  for (let start = 0; start < ids.length; start += length)
    for (let i = start; i < start + length; i++) {
      mask[i] = 1;
      if (ids[i] === endTokenId) break;
    }
  return mask;
}
