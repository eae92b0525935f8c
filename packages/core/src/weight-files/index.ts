/** Weight files of other programs: those of PyTorch, read without executing them, the archives that hold them, and the parts of models in them. */
export { openBegunTraining, type BegunTraining } from './begun-training.js';
export {
  findCheckpoints,
  readCheckpoints,
  type Checkpoint,
  type CheckpointPart,
  type Checkpoints,
  type FoundCheckpoint,
} from './checkpoints.js';
export { torchFilesByName, withTorchWeights } from './diffusers-torch.js';
export {
  findWeights,
  inspectWeights,
  readWeights,
  type FolderPart,
  type SizedModel,
  type WeightPlace,
} from './weight-places.js';
export {
  openTorchWeights,
  readTorchStateDict,
  type OpenTorchWeights,
  type TorchStateDictOptions,
  type TorchWeights,
  type TorchWeightsOptions,
} from './torch/state-dict.js';
export { type TorchTensorOptions } from './torch/torch-tensor.js';
export { readZip, type ZipEntry } from './torch/zip.js';
