/** The samplers of core, by name. */
import type { Sampler } from './sampler.js';
import { ancestralSampler } from './samplers/ancestral.js';
import { confidenceThresholdSampler } from './samplers/confidence-threshold.js';
import { entropyBoundSampler } from './samplers/entropy-bound.js';
import { haltonSampler } from './samplers/halton.js';
import { maskgitSampler } from './samplers/maskgit.js';
import { remdmSampler } from './samplers/remdm.js';
import { tauLeapingSampler } from './samplers/tau-leaping.js';
import { thetaTrapezoidalSampler } from './samplers/theta-trapezoidal.js';

const all: readonly Sampler[] = [
  maskgitSampler,
  haltonSampler,
  ancestralSampler,
  tauLeapingSampler,
  thetaTrapezoidalSampler,
  remdmSampler,
  entropyBoundSampler,
  confidenceThresholdSampler,
];

/** The samplers of core, by name. */
export const builtInSamplers: ReadonlyMap<string, Sampler> = new Map(all.map((sampler) => [sampler.name, sampler]));
