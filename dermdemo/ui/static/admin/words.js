// What the machine's names mean, in plain words.

export const CLASSES = {
  akiec: "Actinic keratosis / Bowen's disease", bcc: 'Basal cell carcinoma', bkl: 'Benign keratosis-like lesion',
  df: 'Dermatofibroma', mel: 'Melanoma', nv: 'Melanocytic nevus', vasc: 'Vascular lesion',
};
export const className = (key) => (Object.hasOwn(CLASSES, key) ? CLASSES[key] : key);

// state -> [word, tone of its chip, sentence]
export const STATES = {
  queued: ['Waiting', 'plain', 'It waits for a free place and starts by itself.'],
  running: ['Running', 'calm', 'It goes on when this page is closed or the app is restarted.'],
  stopping: ['Stopping', 'warn', 'It was asked to stop or cancel and has not got there yet.'],
  finished: ['Finished', 'calm', 'All steps are done.'],
  failed: ['Failed', 'alert', 'A step went wrong. What it reached is kept.'],
  cancelled: ['Cancelled', 'plain', 'What it had made was discarded; its record and logs are kept.'],
  lost: ['Broke off', 'alert', 'Its process ended without a word. What it reached is kept.'],
};
export const stateOf = (state) => (Object.hasOwn(STATES, state) ? STATES[state] : [state, 'plain', '']);

export const STANDINGS = {
  live: ['Live', 'calm', 'Visitors are served by this version.'],
  candidate: ['Candidate', 'warn', 'Waits for a decision; it serves nobody yet.'],
  previous: ['Earlier', 'plain', 'Was live before; you can roll back to it.'],
  archived: ['Archived', 'plain', 'Out of the choice; its files are kept.'],
  shipped: ['Shipped', 'plain', 'Came with the app; you can always roll back to it.'],
};
export const standingOf = (standing) => (Object.hasOwn(STANDINGS, standing) ? STANDINGS[standing]
  : [standing, 'plain', '']);

const STEPS = {
  prepare: 'Check data and base version', 'stage I': 'Stage I: VAE without labels',
  'stage II vae': 'Stage II: VAE arm', 'stage II imagenet': 'Stage II: natural-image arm',
  gate: 'Compare with the live version', atlas: 'Map of known lesions', candidate: 'Register as a candidate',
};
export function stepName(name) {
  const dry = name.startsWith('dry '), plain = dry ? name.slice(4) : name;
  const words = Object.hasOwn(STEPS, plain) ? STEPS[plain] : plain;
  return dry ? `Trial run: ${words[0].toLowerCase()}${words.slice(1)}`.replace('stage I', 'Stage I') : words;
}

export const SPLITS = {
  train: 'Training', val: 'Validation', calib: 'Calibration', test: 'Test',
};
export const GATES = {
  calib: 'Calibration lesions (recommended)', val: 'Validation lesions',
};
export const DEVICES = {cpu: 'Processor (CPU)', cuda: 'Graphics card (GPU)', slurm: 'Cluster (Slurm)'};
export const RECIPES = {quick: 'Quick', paper: 'Full, as in the study'};
export const ARMS = {vae: 'VAE arm', imagenet: 'Natural-image arm'};
export const MODELS = {vae: 'VAE', 'vae arm': 'VAE arm', 'imagenet arm': 'Natural-image arm',
  atlas: 'Map of known lesions'};
export const METRICS = {
  balanced_accuracy: 'balanced accuracy', macro_auc: 'macro AUC', accuracy: 'accuracy',
  malignant_auc: 'malignant AUC', sensitivity: 'sensitivity', specificity: 'specificity',
};
export const metric = (key) => (Object.hasOwn(METRICS, key) ? METRICS[key] : key.replaceAll('_', ' '));
export const named = (words, key) => (Object.hasOwn(words, key) ? words[key] : key);

// An outcome of the comparison -> its tone.
export const OUTCOMES = {better: 'calm', worse: 'alert', 'not distinguishable': 'plain', 'not comparable': 'plain'};

// action of a job -> what its button says, and what happens, said before it is done
export const ACTIONS = {
  stop: {label: 'Stop and keep', title: 'Stop and keep what was reached?', sure: 'Stop and keep',
    text: 'The training that runs now ends after its current epoch and keeps its models. The remaining steps are '
      + 'then '
      + 'done with them, so the job still becomes a candidate.'},
  finish: {label: 'Keep what was reached', title: 'Go on with what was reached?', sure: 'Keep and go on',
    text: 'The stage that broke off is kept as far as it came and not trained further. The remaining steps are done '
      + 'with it.'},
  cancel: {label: 'Cancel and discard', title: 'Cancel and discard?', sure: 'Discard the job', danger: true,
    text: 'The job ends at once and everything it has trained is deleted. Only its record, its curves and its logs '
      + 'stay. This cannot be undone.'},
  resume: {label: 'Resume', title: 'Go on where it broke off?', sure: 'Resume',
    text: 'Steps that are done are not repeated. Training goes on from its last finished epoch.'},
  retry: {label: 'Start anew', title: 'Start this job anew?', sure: 'Start anew',
    text: 'The same job begins from its first step. What the last attempt trained is discarded.'},
  repeat: {label: 'Repeat as a new job', title: 'Repeat this job?', sure: 'Repeat',
    text: 'A new job is queued with the same data, starting version, settings and seed. If code or libraries have '
      + 'changed since, the new job says so.'},
};

// action in the audit log -> words
export const DEEDS = {
  'register-data': 'Data registered', launch: 'Job launched', register: 'Candidate registered',
  promote: 'Made live', rollback: 'Rolled back', archive: 'Archived', 'promote-failed': 'Making live failed',
  'rollback-failed': 'Rollback failed', 'job-stop': 'Job: stop asked', 'job-cancel': 'Job: cancel asked',
  'job-resume': 'Job: resume asked', 'job-retry': 'Job: new start asked', login: 'Logged in', logout: 'Logged out',
  'lock-out': 'Log-in locked after wrong passwords',
};

// key of an entry's details -> words before its value
export const DETAILS = {before: 'instead of version', failed_before: 'wrong passwords before:', address: 'from',
  data: 'data set', in_a_row: 'times in a row:', login: 'log-in of', images: 'images:', name: 'named', mapping: 'mapped:'};
