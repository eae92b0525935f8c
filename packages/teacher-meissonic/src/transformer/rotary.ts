/** Rotation angles of text and image positions. */
import { float32, type HostTensor } from '@dimo/core';
import { blockGrid, type ResolvedTransformerConfig } from './config.js';

/** Angles of all positions, text first: float32 [textLength + image tokens, headWidth / 2]. */
export interface RotaryTables {
  readonly cosines: HostTensor<'float32'>;
  readonly sines: HostTensor<'float32'>;
}

/**
 * Angles: text tokens are at (0, 0, 0), image tokens at (0, row, column); axis i of size a_i turns its pairs j by position
 * * 10000^(-2j / a_i). Computed in float64.
 */
export function rotaryTables(config: ResolvedTransformerConfig): RotaryTables {
  const { rotaryAxes, textLength, headWidth } = config;
  const [rows, columns] = blockGrid(config);
  const shape = [textLength + rows * columns, headWidth / 2];
  const angles = rotaryAxes.flatMap((size, axis) =>
    Array.from({ length: size / 2 }, (_, j) => ({ axis, frequency: 10000 ** ((-2 * j) / size) })),
  );
  const cosines = new Float32Array(shape[0]! * shape[1]!).fill(1);
  const sines = new Float32Array(cosines.length);
  for (let token = 0; token < rows * columns; token++) {
    const position = [0, Math.floor(token / columns), token % columns];
    angles.forEach(({ axis, frequency }, pair) => {
      const angle = position[axis]! * frequency;
      const index = (textLength + token) * angles.length + pair;
      cosines[index] = Math.cos(angle);
      sines[index] = Math.sin(angle);
    });
  }
  return { cosines: float32(shape, cosines), sines: float32(shape, sines) };
}
