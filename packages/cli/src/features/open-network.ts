/** The feature network that a command names: an ONNX file, and how images get into it. */
import { openOnnxModel, readFileChecked, sha256OfFile, type OnnxModel } from '@dimo/backend-node';
import { decodeText, escapeText, OptionError } from '@dimo/core';
import { describeFeatureNetwork, featureNetworkPresets, openFeatureNetwork, type FeatureNetwork } from '@dimo/eval';
import { existsSync } from 'node:fs';
import { basename, extname } from 'node:path';

/** Bytes of a description. */
const maximumDescriptionBytes = 2 ** 16;

/** What a command line says about the network. */
export interface NetworkRequest {
  /** ONNX file. */
  readonly features: string;
  /** Name of a preset, or a JSON file. @default the JSON file beside the ONNX file */
  readonly network: string | undefined;
  readonly threads: number | undefined;
}

/** A network with what its features depend on. */
export interface OpenNetwork {
  readonly network: FeatureNetwork;
  /** JSON: hash of the file, description. */
  readonly identity: unknown;
  dispose(): Promise<void>;
}

/** Loads the network. @throws OptionError, WeightError, DimoError with code `io` */
export async function openNetwork({ features: path, network: asked, threads }: NetworkRequest): Promise<OpenNetwork> {
  // Before its description is missed.
  const hash = await sha256OfFile(path);
  const name = basename(path, extname(path));
  const description = describeFeatureNetwork(await descriptionOf(path, asked), name);
  const model: OnnxModel = await openOnnxModel(path, threads === undefined ? {} : { threads });
  try {
    return {
      network: openFeatureNetwork(model, description),
      identity: [hash, description],
      dispose: () => model.dispose(),
    };
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

async function descriptionOf(path: string, asked: string | undefined): Promise<unknown> {
  if (asked !== undefined && Object.hasOwn(featureNetworkPresets, asked)) return asked;
  const file = asked ?? `${path.slice(0, path.length - extname(path).length)}.json`;
  if (!existsSync(file))
    throw new OptionError(
      asked === undefined
        ? `nothing says how images get into ${escapeText(path)}: there is no ${escapeText(file)}`
        : `--network: ${escapeText(asked)} is neither a file nor a known network`,
      { path: file, hint: `name a network with --network: ${Object.keys(featureNetworkPresets).join(', ')}` },
    );
  const text = decodeText(await readFileChecked(file, maximumDescriptionBytes), file);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new OptionError(`${escapeText(file)} is not JSON: ${(cause as Error).message}`, { path: file, cause });
  }
}
