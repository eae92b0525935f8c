/** All lowerings by tfjs kernel name. */
import { binaryKernels } from './binary.js';
import { convKernels } from './conv.js';
import { fusedKernels } from './fused.js';
import { gatherKernels } from './gather.js';
import { imageKernels } from './image.js';
import type { KernelTable } from './kernel.js';
import { matmulKernels } from './matmul.js';
import { reduceKernels } from './reduce.js';
import { shapeKernels } from './shape.js';
import { unaryKernels } from './unary.js';

export const kernels: KernelTable = {
  ...unaryKernels,
  ...binaryKernels,
  ...reduceKernels,
  ...matmulKernels,
  ...shapeKernels,
  ...gatherKernels,
  ...convKernels,
  ...imageKernels,
  ...fusedKernels,
};
