/**
 * The files of the presets; written by scripts/write-preset-index.mjs. Each address is spelt out, because bundlers that
 * carry files along recognize them by this form.
 */
import type { PresetFile } from './preset-file.js';

/** By preset, then by name in its folder. */
export const presetFiles = {
  emoji: {
    'config.json': {
      url: new URL('../presets/emoji/config.json', import.meta.url).href,
      bytes: 368,
      sha256: '98138681b05deb2644647db19e2d2c08eb0fe8262b1db05dcc980217ce7363f4',
    },
    'generator/config.json': {
      url: new URL('../presets/emoji/generator/config.json', import.meta.url).href,
      bytes: 1074,
      sha256: 'bd981309d2df3a9e83f9821912712ce1d834e4addd3071e2fa7a67a80bd931cd',
    },
    'generator/decoder.safetensors': {
      url: new URL('../presets/emoji/generator/decoder.safetensors', import.meta.url).href,
      bytes: 701214,
      sha256: '484f3759ef80d955e3706698b2bbb4704534c8fbc2de2716a9dcddddb4e1068c',
    },
    'generator/model.safetensors': {
      url: new URL('../presets/emoji/generator/model.safetensors', import.meta.url).href,
      bytes: 5131752,
      sha256: 'fe03d417515d171db708a32507c0e782f7c2f6dc717fb7a4ec73b88f9be5344a',
    },
    'generator/words.json': {
      url: new URL('../presets/emoji/generator/words.json', import.meta.url).href,
      bytes: 19167,
      sha256: '1cc6844cc21fd64bdea427eb8747beafe8e4454dbc6df652df89a9fdfd71cf02',
    },
    'teacher.json': {
      url: new URL('../presets/emoji/teacher.json', import.meta.url).href,
      bytes: 536,
      sha256: 'fa33c951c31fa9260e891d89adc94f10402f18c225e4cd1ec0313e2f61c6e28d',
    },
    'tokenizer.safetensors': {
      url: new URL('../presets/emoji/tokenizer.safetensors', import.meta.url).href,
      bytes: 701182,
      sha256: '701f92e1513bff780ba7f16a28c794e0b32a8e6095dab038d2de29d50bc765c4',
    },
    'transformer.safetensors': {
      url: new URL('../presets/emoji/transformer.safetensors', import.meta.url).href,
      bytes: 5131720,
      sha256: 'd8759255873ae2ee20f3341ae391085261be03ba909bf3995058d5b5e9d4c68b',
    },
    'words.json': {
      url: new URL('../presets/emoji/words.json', import.meta.url).href,
      bytes: 19167,
      sha256: '1cc6844cc21fd64bdea427eb8747beafe8e4454dbc6df652df89a9fdfd71cf02',
    },
  },
  mnist: {
    'config.json': {
      url: new URL('../presets/mnist/config.json', import.meta.url).href,
      bytes: 606,
      sha256: '098175fb41d4ef2620425c1df15d661ac3247b3e82307995e0d4f9370749631d',
    },
    'generator/config.json': {
      url: new URL('../presets/mnist/generator/config.json', import.meta.url).href,
      bytes: 1191,
      sha256: 'a2f43df3f9a9b4c93489c5c697825a9f6be7cfa3b83a7984356d4feb95dfe10b',
    },
    'generator/decoder.safetensors': {
      url: new URL('../presets/mnist/generator/decoder.safetensors', import.meta.url).href,
      bytes: 169050,
      sha256: '7aeaff905a7f2f43031b449643cf7b795f07039b5b3ed8dc917166c541605b91',
    },
    'generator/model.safetensors': {
      url: new URL('../presets/mnist/generator/model.safetensors', import.meta.url).href,
      bytes: 990200,
      sha256: 'd6e54932fc196586a28a855e4f2f2fb29ad104f1a89672cb6c52dfe017f9c9ab',
    },
    'tokenizer.safetensors': {
      url: new URL('../presets/mnist/tokenizer.safetensors', import.meta.url).href,
      bytes: 169050,
      sha256: '7aeaff905a7f2f43031b449643cf7b795f07039b5b3ed8dc917166c541605b91',
    },
    'transformer.safetensors': {
      url: new URL('../presets/mnist/transformer.safetensors', import.meta.url).href,
      bytes: 990200,
      sha256: '80bb99833709453f3258154902641337b43f135319997157b8841f6cd43d4365',
    },
  },
} satisfies Record<string, Record<string, PresetFile>>;
