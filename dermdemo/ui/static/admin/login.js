// The log-in page: afterwards the same address is opened again, so that the page asked for is the one shown.

import {loginForm} from './dialogs.js';
import {fill} from './dom.js';

const before = sessionStorage.getItem('dermdemo-admin');
sessionStorage.removeItem('dermdemo-admin');
if (before) fill(document.getElementById('why'), before === 'out' ? 'You are logged out.'
  : 'Your session has ended. Log in again to go on where you were; jobs went on meanwhile.');
document.getElementById('login').append(loginForm(() => location.reload()));
document.getElementById('login-name').focus();
