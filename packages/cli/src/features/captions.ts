/** Captions of pictures, which are the prompts of samples. */
import { readFileChecked } from '@dimo/backend-node';
import { decodeText, OptionError, textLines } from '@dimo/core';

const maximumBytes = 2 ** 26;

/** The captions of a file, one a line. @throws OptionError if it has none */
export async function readCaptions(path: string): Promise<string[]> {
  const lines = textLines(decodeText(await readFileChecked(path, maximumBytes), path));
  const captions = lines.map(({ text }) => text.trim()).filter((text) => text !== '');
  if (captions.length === 0) throw new OptionError('captions: expected one a line, got an empty file', { path });
  return captions;
}
