/** What stands where weights should be: a failed download, an archive, a file of another framework. In words, from its first bytes. */
import { escapeText } from '../text/escape-text.js';

/** What a file is that is not what it should be. */
export interface ForeignFile {
  /** `a pointer of Git LFS, which stands for ...`. */
  readonly what: string;
  /** What to do about it. */
  readonly hint: string;
}

/** Bytes of the beginning that are looked at. */
const headBytes = 4096;
const again = 'the download has failed: fetch the file again';
const archive = 'unpack the archive and name the folder with its files';
const convert = 'convert the weights to a .safetensors file, or save them as a state dict with torch.save';

/** What browsers and download tools call a file that is not whole yet. */
const unfinishedName = /\.(?:incomplete|part|partial|crdownload|download|aria2|tmp)$/i;

/** What to do about a file of unfinished download, where there is one among the names of a folder. */
export function unfinishedDownload(names: readonly string[]): string | undefined {
  const found = names.find((name) => unfinishedName.test(name));
  return found && `${escapeText(found, 120)} is a download that has not been finished: fetch it again, to its end`;
}

/** Beginnings of well-known formats. */
const signatures: readonly { at?: number; bytes: string; what: string; hint: string }[] = [
  { bytes: '\x1f\x8b', what: 'a gzip archive (.gz)', hint: archive },
  { bytes: '7z\xbc\xaf\x27\x1c', what: 'a 7z archive', hint: archive },
  { bytes: 'Rar!\x1a\x07', what: 'a rar archive', hint: archive },
  { bytes: '\xfd7zXZ\0', what: 'an xz archive', hint: archive },
  { bytes: 'BZh', what: 'a bzip2 archive', hint: archive },
  { bytes: '\x28\xb5\x2f\xfd', what: 'a zstd archive', hint: archive },
  { at: 257, bytes: 'ustar', what: 'a tar archive', hint: archive },
  { bytes: '\x89HDF\r\n\x1a\n', what: 'an HDF5 file (.h5), as Keras writes it', hint: convert },
  { bytes: 'GGUF', what: 'a GGUF file of llama.cpp', hint: convert },
  { bytes: '\x93NUMPY', what: 'a NumPy array (.npy)', hint: convert },
  { at: 4, bytes: 'TFL3', what: 'a TensorFlow Lite model', hint: convert },
  { bytes: '\x89PNG', what: 'a PNG image', hint: 'name the file of the weights' },
  { bytes: '\xff\xd8\xff', what: 'a JPEG image', hint: 'name the file of the weights' },
  { bytes: '%PDF', what: 'a PDF document', hint: 'name the file of the weights' },
];

/**
 * Tells what a file is from its first bytes.
 *
 * @param head - the first 4096 bytes, or all.
 * @param length - bytes of the whole file.
 * @returns undefined for what is not known.
 */
export function describeForeignFile(head: Uint8Array, length: number): ForeignFile | undefined {
  if (length === 0) return { what: 'empty (0 bytes)', hint: again };
  const start = head.subarray(0, headBytes);
  // One character per byte.
  const latin = Array.from(start, (byte) => String.fromCharCode(byte)).join('');
  if (start.every((byte) => byte === 0))
    return { what: `${length} bytes that begin with zeros, as of a download that has not been finished`, hint: again };
  return describeText(latin, start, length) ?? describeBinary(latin, start, length);
}

function describeText(latin: string, bytes: Uint8Array, length: number): ForeignFile | undefined {
  const text = latin.replace(/^(?:\xef\xbb\xbf)?\s*/, '');
  if (text.startsWith('version https://git-lfs') || text.startsWith('version https://hawser')) {
    const size = /\nsize (\d{1,15})\s/.exec(`${text}\n`)?.[1];
    return {
      what: `a pointer of Git LFS, which stands for the real file${size ? ` of ${size} bytes` : ''}`,
      hint: 'fetch the real files: `git lfs pull` in the repository, or `dimo import hf:owner/repository`',
    };
  }
  if (/^(?:\.\.\/)*\.git\/annex\/objects\/|^\/annex\/objects\//.test(text))
    return { what: 'a pointer of git-annex, which stands for the real file', hint: 'fetch it: `git annex get`' };
  if (/^<(?:!doctype|html|head|body|\?xml|error|!--|script|meta)/i.test(text)) {
    const title = /<title>\s*([^<]{1,100})/i.exec(text)?.[1]?.trim();
    return {
      what: `a web page${title ? ` ("${escapeText(title, 60)}")` : ''}, not the file behind it`,
      hint: 'open its address in a browser and download the file itself; large files of Google Drive ask for a confirmation, which gdown gives',
    };
  }
  const isText = bytes.every((byte) => byte >= 0x20 || (byte >= 9 && byte <= 13));
  if (!isText) return undefined;
  const shown = escapeText(text.trim().slice(0, 100), 100);
  if (/^[{[]/.test(text))
    return {
      what: `JSON text: ${shown}`,
      hint: length < headBytes ? `if this is the answer of a server, ${again}` : 'name the file of the weights',
    };
  return {
    what: `text: ${shown}`,
    hint: `if this is the answer of a server, ${again}; else name the file of the weights`,
  };
}

function describeBinary(latin: string, bytes: Uint8Array, length: number): ForeignFile | undefined {
  const known = signatures.find(({ at = 0, bytes: signature }) => latin.startsWith(signature, at));
  if (known) return known;
  if (latin.startsWith('PK\x03\x04') || latin.startsWith('PK\x05\x06'))
    return {
      what: 'a zip archive, as PyTorch writes it',
      hint: 'if it holds weights of PyTorch, name it .pth, .pt, .bin or .ckpt; else unpack it and name the folder',
    };
  // Safetensors: the length of the header, then a brace.
  if (length > 10 && latin[8] === '{' && bytes.subarray(4, 8).every((byte) => byte === 0))
    return { what: 'a safetensors file', hint: 'give its name the ending .safetensors' };
  if (/^\x80[\x02-\x05]/.test(latin))
    return { what: 'a pickle of Python', hint: 'save the state dict with torch.save, or as safetensors' };
  // Protobuf: the version of the format, then the producer's name or the graph.
  if (/^\x08[\x01-\x20][\x12\x3a]/.test(latin)) return { what: 'an ONNX model', hint: convert };
  // MessagePack: a map whose first key is a text.
  if (/^(?:[\x81-\x8f]|\xde..|\xdf....)(?:[\xa1-\xbf]|\xd9.)[\w/.-]/s.test(latin))
    return { what: 'a MessagePack file, as Flax writes it', hint: convert };
  return undefined;
}
