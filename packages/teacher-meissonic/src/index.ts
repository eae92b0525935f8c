export { type MultimodalTransformerConfig, type ResolvedTransformerConfig } from './transformer/config.js';
export { multimodalTransformer, type MultimodalTransformer } from './transformer/multimodal-transformer.js';
export { rotaryTables, type RotaryTables } from './transformer/rotary.js';
export {
  embedMicroConditions,
  microConditionNumbers,
  sinusoids,
  sinusoidWidth,
  type MicroConditions,
} from './transformer/sinusoids.js';
export { embedTimesteps, timestepModes, timestepsOf, type TimestepMode } from './transformer/timestep.js';
